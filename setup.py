# SPDX-License-Identifier: Apache-2.0
"""Compiled parts: the APDU core (a cffi extension) and plain shared libraries that other programs load."""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

WARNINGS = ["-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wformat=2", "-Werror"]
HARDENING = ["-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-fPIC"]
LINK = ["-Wl,-z,relro,-z,now", "-Wl,-z,noexecstack"]


class SharedLibrary(Extension):
    """A library that is loaded by dlopen under a fixed name; it is no Python module."""


class BuildExt(build_ext):
    def get_ext_filename(self, fullname: str) -> str:
        extension = self.ext_map.get(fullname)
        if isinstance(extension, SharedLibrary):
            return str(Path(*fullname.split("."))) + ".so"
        return super().get_ext_filename(fullname)

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return [] if isinstance(ext, SharedLibrary) else super().get_export_symbols(ext)


def sources(folder: str) -> list[str]:
    return sorted(str(p) for p in Path(folder).glob("*.c"))


def libraries() -> list[Extension]:
    found = []
    driver = sources("simulator/driver")
    if driver:
        found.append(
            SharedLibrary(
                "simulator.driver.libifdcpxsim",
                driver,
                include_dirs=["/usr/include/PCSC"],
                extra_compile_args=[*WARNINGS, *HARDENING, "-fvisibility=hidden"],
                extra_link_args=[*LINK],
                libraries=["pthread"],
            )
        )
    for name, source in (("libgalcllux", "client.c"), ("libgalinlux", "information.c")):
        found.append(
            SharedLibrary(
                f"simulator.galss.{name}",
                [f"simulator/galss/{source}", "simulator/galss/wire.c"],
                depends=["simulator/galss/wire.h"],
                extra_compile_args=[*WARNINGS, *HARDENING, "-fvisibility=hidden"],
                extra_link_args=[*LINK, f"-Wl,-soname,{name}.so"],
                libraries=["pthread"],
            )
        )
    usb = sources("simulator/usb")
    if usb:
        found.append(
            SharedLibrary(
                "simulator.usb.libcpxsimusb",
                usb,
                extra_compile_args=[*WARNINGS, *HARDENING, "-fvisibility=hidden"],
                extra_link_args=[*LINK],
            )
        )
    module = sources("cpxd/pkcs11/module")
    if module:
        found.append(
            SharedLibrary(
                "cpxd.pkcs11.module.libcpxd-pkcs11",
                module,
                extra_compile_args=[*WARNINGS, *HARDENING, "-fvisibility=hidden"],
                extra_link_args=[*LINK, "-Wl,-z,nodelete"],
            )
        )
    return found


setup(
    cffi_modules=["cpxd/_apdu_build.py:ffibuilder"],
    ext_modules=libraries(),
    cmdclass={"build_ext": BuildExt},
)
