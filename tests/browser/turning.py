"""Hands for a figure of Plotly's in three dimensions, wherever it is shown."""

ATTEMPTS = 4  # at dragging: a page that was still busy may have missed the mouse
PATIENCE = 180_000  # ms: without a GPU the browser draws in software, perhaps on a busy machine

# What Plotly says when something that plays is stopped: it is no fault.
STOPPED = ("undefined", "uncaught: undefined")
DRAWN = "place => Boolean(place._fullLayout?.scene?._scene?.glplot) && !place.hidden"
EYE = "place => place._fullLayout.scene._scene.getCamera().eye"
STATE = """place => {
  const [slider] = place.layout.sliders;
  return { active: slider.active, x: [...place._fullData[1].x] };
}"""
SHOWN = """(({ steps, active }) => place._fullLayout._currentFrame === steps[active].args[0][0])(
  place.layout.sliders[0])"""

# Where the first dots are in the window: what the graphics card does with a point, by hand.
DOTS = """place => {
  const { glplot, dataScale } = place._fullLayout.scene._scene;
  const { model, view, projection } = glplot.cameraParams;
  const times = (m, v) => [0, 1, 2, 3].map((i) =>
    m[i] * v[0] + m[4 + i] * v[1] + m[8 + i] * v[2] + m[12 + i] * v[3]);
  const window = glplot.canvas.getBoundingClientRect();
  const { x, y, z } = place._fullData[1];
  return [...Array(12).keys()].map((i) => {
    const scaled = [x[i] * dataScale[0], y[i] * dataScale[1], z[i] * dataScale[2], 1];
    const [across, up, , depth] = times(projection, times(view, times(model, scaled)));
    return [window.x + (across / depth + 1) / 2 * window.width,
            window.y + (1 - up / depth) / 2 * window.height];
  });
}"""


class Turning:
    """One figure of a page, with frames."""

    def __init__(self, page, place):
        self.page, self.place = page, place.first

    def wait_until_drawn(self):
        """Return when the figure is there."""
        self.place.wait_for(state="attached", timeout=PATIENCE)
        self.place.evaluate("place => place.closest('.cell_output, .jp-Cell').scrollIntoView()")
        handle = self.place.element_handle(timeout=PATIENCE)
        self.page.wait_for_function(DRAWN, arg=handle, timeout=PATIENCE)
        self.place.evaluate("place => place.scrollIntoView({ block: 'center' })")

    def state(self):
        """Where the slider stands, and the first coordinates of the dots."""
        return self.place.evaluate(STATE)

    def wait_for(self, test, patience=PATIENCE):
        """Return when `test`, a JavaScript expression about `place`, is true."""
        handle = self.place.element_handle()
        self.page.wait_for_function(f"place => {test}", arg=handle, timeout=patience)

    def middle(self):
        """Where the middle of the scene is, in the window."""
        box = self.place.locator(".gl-container").bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + 0.4 * box["height"]

    def middle_at_rest(self):
        """The same, once the page has stopped moving: pictures above it may still come in."""
        for _ in range(100):
            before = self.middle()
            self.page.wait_for_timeout(100)
            if self.middle() == before:
                return before
        raise AssertionError("the scene never came to rest")

    def turn(self):
        """Drag the scene with the mouse, again if need be; the eye must come to stand elsewhere."""
        from playwright.sync_api import TimeoutError

        before = self.place.evaluate(EYE)
        turned = f"Math.abs(({EYE})(place).x - {before['x']}) > 0.05"
        for attempt in range(ATTEMPTS):
            x, y = self.middle_at_rest()
            self.page.mouse.move(x, y)
            self.page.mouse.down()
            self.page.mouse.move(x + 90, y + 20, steps=8)
            self.page.mouse.up()
            try:
                self.wait_for(turned, PATIENCE / ATTEMPTS)
            except TimeoutError:
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                return

    def play(self):
        """Press play: the slider must go on and the dots with it; then press stop."""
        before = self.state()
        self.place.get_by_text("▶ play").click()
        self.wait_for(f"place.layout.sliders[0].active > {before['active'] + 1}")
        self.place.get_by_text("■ stop").click()
        assert self.state()["x"] != before["x"]

    def slide(self):
        """Press on the slider near its end: the last frames must be shown."""
        track = self.place.locator(".slider-rail-touch-rect").bounding_box()
        self.page.mouse.click(track["x"] + 0.99 * track["width"], track["y"] + track["height"] / 2)
        last = "place.layout.sliders[0].steps.length - 1"
        self.wait_for(f"place.layout.sliders[0].active >= {last} - 1")
        # The slider moves at once, its frame comes when the page next paints: a key that is
        # pressed in between would be overtaken.
        self.wait_for(SHOWN)

    def point(self):
        """Move the mouse over a dot: what it tells must be four probabilities."""
        self.place.evaluate(
            """place => { place.told = [];
            place.on("plotly_hover", (event) => place.told.push(event.points[0].customdata)); }"""
        )
        for x, y in self.place.evaluate(DOTS):
            self.page.mouse.move(x - 8, y - 8)
            self.page.mouse.move(x, y, steps=4)
            self.page.wait_for_timeout(300)
            if told := self.place.evaluate("place => place.told.map((four) => [...four])"):
                assert abs(sum(told[0]) - 1) < 3e-3 and len(told[0]) == 4
                return
        raise AssertionError("the mouse was over twelve dots, and none told anything")

    def test(self, artefacts, name="tetrahedron"):
        """All of it, with a picture before and after."""
        self.wait_until_drawn()
        self.place.screenshot(path=artefacts / f"{name}.png", timeout=PATIENCE)
        self.turn()
        self.play()
        self.point()
        self.slide()
        self.place.screenshot(path=artefacts / f"{name}-after.png", timeout=PATIENCE)
