"""A button that is heard while the cell under which it stands still runs."""

from IPython.core.getipython import get_ipython


def hear(button):
    """Let a button act that was pressed meanwhile; to be called, often, by the cell that runs.

    From version 7 on, ipykernel hears what JupyterLab (4.4 or newer) tells a widget in a thread of
    its own, and nothing need be done. ipykernel 6, which Colab has, lets it wait behind the
    running cell: what waits for this button is taken out of that queue, and all else stays in it.
    Other kernels hear the button after the cell, and have only their interrupt.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    queue, stream = getattr(kernel, "msg_queue", None), getattr(kernel, "shell_stream", None)
    if queue is None or stream is None or button.comm is None:
        return
    stream.flush()  # from the socket into the queue
    for item in [queue.get_nowait() for _ in range(queue.qsize())]:
        if not _handled(kernel, button, item):
            queue.put_nowait(item)


def _handled(kernel, button, item):
    """Whether what waits is a message for the button; then it is handled."""
    _, dispatch, arguments = item
    if getattr(dispatch, "__name__", "") != "dispatch_shell":
        return False
    session = kernel.session
    identity, frames = session.feed_identities(arguments[0], copy=False)
    # Looked at as they are, since a message can be read by its signature only once.
    header, content = (session.unpack(frames[place].bytes) for place in (1, 4))
    if header["msg_type"] != "comm_msg" or content["comm_id"] != button.comm.comm_id:
        return False
    message = session.deserialize(frames, content=True, copy=False)
    kernel.shell_handlers["comm_msg"](kernel.shell_stream, identity, message)
    return True
