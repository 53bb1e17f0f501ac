"""A button that is heard while the cell under which it stands still runs."""

from IPython.core.getipython import get_ipython


def hear(button):
    """Let a button act that was pressed meanwhile; to be called, often, by the cell that runs.

    A kernel lets what a widget is told wait until the cell has ended. Of what waits, the button's
    messages are taken out and handled; all else keeps its turn (but a cell that is sent at the very
    moment at which this one ends may come before what waits). It knows ipykernel 6 (Colab's) and
    7; elsewhere a button is heard after the cell, and only an interrupt is heard before.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    stream = _stream(kernel)
    answer = getattr(stream, "_recv_callback", None)
    if answer is None or button.comm is None:
        return
    waiting = []
    stream.on_recv(waiting.append, copy=False)
    try:
        stream.flush()
    finally:
        stream.on_recv(answer, copy=False)
    for frames in waiting:
        if not _handled(kernel, button, frames):
            stream.io_loop.add_callback(answer, frames)


def _stream(kernel):
    """Where the thread that runs cells finds its messages."""
    if thread := getattr(kernel, "shell_channel_thread", None):  # from ipykernel 7 on
        return getattr(getattr(thread.manager, "_shell_channel_to_main", None), "to_stream", None)
    return getattr(kernel, "shell_stream", None)


def _handled(kernel, button, frames):
    """Whether a message is for the button; then it is handled."""
    identity, parts = kernel.session.feed_identities(frames, copy=False)
    # Looked at as they are, since a message can be read by its signature only once.
    header, content = (kernel.session.unpack(parts[place].bytes) for place in (1, 4))
    if header["msg_type"] != "comm_msg" or content["comm_id"] != button.comm.comm_id:
        return False
    message = kernel.session.deserialize(parts, content=True, copy=False)
    kernel.shell_handlers["comm_msg"](kernel.shell_stream, identity, message)
    return True
