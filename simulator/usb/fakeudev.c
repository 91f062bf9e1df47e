// SPDX-License-Identifier: Apache-2.0
// USB as pcscd sees it, for a lab: the calls of libudev (libudev.h, systemd 252) that pcscd makes, preloaded. Nothing is plugged
// in at first. Each datagram on the socket named by CPX_SIM_USB is one event, its fields ended by a line feed:
//   add|remove, sysname, vendor, product (4 hexadecimal digits), interface number, interface name, serial number, device node
// An empty field is an attribute that the device does not have. The peer is the lab itself: sizes are bounded, no more is checked.
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#pragma GCC visibility push(default)

enum { EVENT_MAX = 1024, FIELDS = 8 };
enum field { ACTION, SYSNAME, VENDOR, PRODUCT, NUMBER, INTERFACE, SERIAL, NODE };

struct udev {
    int unused;
};
struct udev_monitor {
    int fd;
};
struct udev_enumerate {
    int unused;
};
struct udev_list_entry;
struct udev_device {
    char text[EVENT_MAX + 1];
    const char *fields[FIELDS];
};

static struct udev the_udev;
static struct udev_enumerate the_enumerate;
static struct udev_monitor the_monitor = {.fd = -1};

// Declared here as libudev.h has them, so that it is not needed to build.
struct udev *udev_new(void);
struct udev *udev_unref(struct udev *udev);
struct udev_monitor *udev_monitor_new_from_netlink(struct udev *udev, const char *name);
int udev_monitor_filter_add_match_subsystem_devtype(struct udev_monitor *monitor, const char *subsystem, const char *type);
int udev_monitor_enable_receiving(struct udev_monitor *monitor);
int udev_monitor_get_fd(struct udev_monitor *monitor);
struct udev_device *udev_monitor_receive_device(struct udev_monitor *monitor);
struct udev_enumerate *udev_enumerate_new(struct udev *udev);
struct udev_enumerate *udev_enumerate_unref(struct udev_enumerate *enumerate);
int udev_enumerate_add_match_subsystem(struct udev_enumerate *enumerate, const char *subsystem);
int udev_enumerate_scan_devices(struct udev_enumerate *enumerate);
struct udev_list_entry *udev_enumerate_get_list_entry(struct udev_enumerate *enumerate);
struct udev_list_entry *udev_list_entry_get_next(struct udev_list_entry *entry);
const char *udev_list_entry_get_name(struct udev_list_entry *entry);
struct udev_device *udev_device_new_from_syspath(struct udev *udev, const char *path);
struct udev_device *udev_device_unref(struct udev_device *device);
struct udev_device *udev_device_get_parent_with_subsystem_devtype(struct udev_device *device, const char *subsystem,
                                                                  const char *type);
const char *udev_device_get_action(struct udev_device *device);
const char *udev_device_get_devnode(struct udev_device *device);
const char *udev_device_get_sysname(struct udev_device *device);
const char *udev_device_get_sysattr_value(struct udev_device *device, const char *name);

struct udev *udev_new(void) {
    return &the_udev;
}

struct udev *udev_unref(struct udev *udev) {
    (void)udev;
    return NULL;
}

struct udev_monitor *udev_monitor_new_from_netlink(struct udev *udev, const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("CPX_SIM_USB");
    (void)udev;
    (void)name;
    if (path == NULL || strlen(path) >= sizeof address.sun_path)
        return NULL;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return NULL;
    unlink(path); // left by a pcscd that was killed
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return NULL;
    }
    the_monitor.fd = fd;
    return &the_monitor;
}

int udev_monitor_filter_add_match_subsystem_devtype(struct udev_monitor *monitor, const char *subsystem, const char *type) {
    (void)monitor;
    (void)subsystem;
    (void)type;
    return 0;
}

int udev_monitor_enable_receiving(struct udev_monitor *monitor) {
    (void)monitor;
    return 0;
}

int udev_monitor_get_fd(struct udev_monitor *monitor) {
    return monitor->fd;
}

struct udev_device *udev_monitor_receive_device(struct udev_monitor *monitor) {
    struct udev_device *device = calloc(1, sizeof *device);
    if (device == NULL)
        return NULL;
    ssize_t got = recv(monitor->fd, device->text, EVENT_MAX, MSG_DONTWAIT);
    char *rest = device->text;
    for (size_t i = 0; got > 0 && i < FIELDS; i++) {
        char *end = strchr(rest, '\n');
        if (end == NULL)
            goto fail;
        *end = '\0';
        device->fields[i] = rest;
        rest = end + 1;
    }
    if (got > 0)
        return device;
fail:
    free(device);
    return NULL;
}

struct udev_enumerate *udev_enumerate_new(struct udev *udev) {
    (void)udev;
    return &the_enumerate;
}

struct udev_enumerate *udev_enumerate_unref(struct udev_enumerate *enumerate) {
    (void)enumerate;
    return NULL;
}

int udev_enumerate_add_match_subsystem(struct udev_enumerate *enumerate, const char *subsystem) {
    (void)enumerate;
    (void)subsystem;
    return 0;
}

int udev_enumerate_scan_devices(struct udev_enumerate *enumerate) {
    (void)enumerate;
    return 0;
}

struct udev_list_entry *udev_enumerate_get_list_entry(struct udev_enumerate *enumerate) {
    (void)enumerate;
    return NULL;
}

struct udev_list_entry *udev_list_entry_get_next(struct udev_list_entry *entry) {
    (void)entry;
    return NULL;
}

const char *udev_list_entry_get_name(struct udev_list_entry *entry) {
    (void)entry;
    return NULL;
}

struct udev_device *udev_device_new_from_syspath(struct udev *udev, const char *path) {
    (void)udev;
    (void)path;
    return NULL;
}

struct udev_device *udev_device_unref(struct udev_device *device) {
    free(device);
    return NULL;
}

struct udev_device *udev_device_get_parent_with_subsystem_devtype(struct udev_device *device, const char *subsystem,
                                                                  const char *type) {
    (void)subsystem;
    (void)type;
    return device; // interface and device are one event here
}

static const char *field(const struct udev_device *device, enum field wanted) {
    const char *value = device->fields[wanted];
    return value != NULL && value[0] != '\0' ? value : NULL;
}

const char *udev_device_get_action(struct udev_device *device) {
    return field(device, ACTION);
}

const char *udev_device_get_devnode(struct udev_device *device) {
    return field(device, NODE);
}

const char *udev_device_get_sysname(struct udev_device *device) {
    return field(device, SYSNAME);
}

const char *udev_device_get_sysattr_value(struct udev_device *device, const char *name) {
    static const struct {
        const char *name;
        enum field value;
    } known[] = {{"idVendor", VENDOR}, {"idProduct", PRODUCT}, {"bInterfaceNumber", NUMBER}, {"interface", INTERFACE},
                 {"serial", SERIAL}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0)
            return field(device, known[i].value);
    return NULL;
}
