"""A real kernel that is told things while its cell runs: for this environment and for Colab's."""

from pathlib import Path

from jupyter_client.manager import start_new_kernel

HEARING = Path(__file__).resolve().parents[1] / "bfn_core" / "views" / "kit" / "hearing.py"
CELL = """
import time, ipywidgets
button, slider, pressed, moved = ipywidgets.Button(), ipywidgets.IntSlider(), [], []
button.on_click(lambda _: pressed.append(1))
slider.observe(lambda change: moved.append(change["new"]), "value")
print(button.comm.comm_id, slider.comm.comm_id)
end = time.monotonic() + 60
while not pressed and time.monotonic() < end:
    hear(button)
print(pressed, moved)
"""


def press_while_busy() -> list[str]:
    """What is printed by a cell that hears a button, and by two cells that wait behind it.

    While it runs a slider is moved, and then the button is pressed.
    """
    manager, client = start_new_kernel()
    try:
        client.execute(HEARING.read_text("utf-8") + CELL)
        client.execute("print('second')")
        said = printed(client)
        button, slider = next(said).split()
        moved = {"method": "update", "state": {"value": 7}, "buffer_paths": []}
        pressed = {"method": "custom", "content": {"event": "click"}}
        for comm, message in ((slider, moved), (button, pressed)):
            content = {"comm_id": comm, "data": message}
            client.shell_channel.send(client.session.msg("comm_msg", content))
        before = [next(said) for _ in range(2)]
        # What was told while the cell ran has its turn behind "second". A cell that comes at the
        # very moment at which the first one ends may overtake it, so this one comes after.
        client.execute("print('third', moved, pressed)")
        return [*before, next(said)]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def printed(client):
    """What the kernel's cells print, as it comes."""
    while True:
        message = client.get_iopub_msg(timeout=90)
        assert message["msg_type"] != "error", "\n".join(message["content"]["traceback"])
        if message["msg_type"] == "stream":
            yield message["content"]["text"].strip()
