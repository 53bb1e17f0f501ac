"""A stand-in for `google.colab.output`: the widget manager for what ipywidgets has not itself."""

import sys

from . import _widgets

MANAGER = "https://example.org/manager.min.js"
VIEW = "application/vnd.jupyter.widget-view+json"


def enable_custom_widget_manager():
    """Record the call; from here on, record for every widget shown which manager was asked for."""
    import IPython

    if _widgets._installed_url is None:
        IPython.get_ipython().display_pub.register_hook(_shown)
    _widgets._installed_url = MANAGER
    sys.modules["google.colab"].record(called="enable_custom_widget_manager")


def _shown(message):
    content = message.get("content", {})
    if VIEW in content.get("data", {}):
        asked = content.get("metadata", {}).get(VIEW, {}).get("colab", {})
        url = asked.get("custom_widget_manager", {}).get("url")
        sys.modules["google.colab"].record(shown=content["data"]["text/plain"], manager=url)
    return message
