# SPDX-License-Identifier: Apache-2.0
"""A window with a text to be read, and two buttons. A program of its own, for the system's Python with GTK 3 (python3-gi,
gir1.2-gtk-3.0): it knows nothing of cpxd, and a toolkit's memory does not stay in the daemon.

    python3 -I window.py TITLE ACCEPT REFUSE SECONDS < text

Ends with 0 accepted, 1 refused or closed, 3 there is no toolkit or no display. The text is never taken as markup. ACCEPT can be
pressed only once the window has been visible for SECONDS, and is not what the keyboard is on when it opens.
"""

import math
import sys
import time

ACCEPTED, REFUSED, UNABLE = 0, 1, 3
_SIZE = (720, 540)
_STEP = 100  # milliseconds


def main(title: str, accept: str, refuse: str, least: float) -> int:
    text = sys.stdin.buffer.read().decode("utf-8", "replace").replace("\x00", "\ufffd")
    try:
        import gi

        gi.require_version("Gtk", "3.0")
        from gi.repository import Gdk, GLib, Gtk
    except (ImportError, ValueError):
        return UNABLE
    if not Gtk.init_check([])[0]:
        return UNABLE
    answer = [REFUSED]
    window = Gtk.Window(title=title, icon_name="dialog-question", window_position=Gtk.WindowPosition.CENTER, border_width=12)
    window.set_default_size(*_SIZE)
    window.set_keep_above(True)
    window.set_urgency_hint(True)
    view = Gtk.TextView(editable=False, cursor_visible=False, monospace=True, wrap_mode=Gtk.WrapMode.WORD_CHAR)
    view.get_buffer().set_text(text)
    scrolled = Gtk.ScrolledWindow(child=view, overlay_scrolling=False, shadow_type=Gtk.ShadowType.IN)
    yes, no = Gtk.Button(label=accept, sensitive=False), Gtk.Button(label=refuse)
    buttons = Gtk.ButtonBox(layout_style=Gtk.ButtonBoxStyle.END, spacing=6)
    buttons.add(no)
    buttons.add(yes)
    box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=12)
    box.pack_start(scrolled, True, True, 0)
    box.pack_start(buttons, False, False, 0)
    window.add(box)

    def accepted(_: object) -> None:
        answer[0] = ACCEPTED
        Gtk.main_quit()

    def key(_: object, event: Gdk.EventKey) -> bool:
        if event.keyval == Gdk.KEY_Escape:
            Gtk.main_quit()
        return bool(event.keyval == Gdk.KEY_Escape)

    def shown(*_: object) -> bool:
        until = time.monotonic() + least

        def step() -> bool:
            left = until - time.monotonic()
            yes.set_label(f"{accept} ({math.ceil(left)})" if left > 0 else accept)
            yes.set_sensitive(left <= 0)
            return left > 0

        step()
        GLib.timeout_add(_STEP, step)
        return False

    yes.connect("clicked", accepted)
    no.connect("clicked", Gtk.main_quit)
    window.connect("destroy", Gtk.main_quit)
    window.connect("key-press-event", key)
    window.connect("map-event", shown)
    window.show_all()
    view.grab_focus()
    window.present()
    Gtk.main()
    return answer[0]


if __name__ == "__main__":
    try:
        ended = main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
    except Exception:
        ended = UNABLE
    sys.exit(ended)
