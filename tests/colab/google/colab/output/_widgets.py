"""Where anywidget looks up the widget manager in force."""

_installed_url = None
