"""What every kernel of the stand-in Colab runs first, as IPython's start-up file.

It brings `google.colab`, and a network that has the repository's assets and nothing else.
"""

import os
import sys

sys.path.append(os.environ["COLAB_STAND_IN"])
import google.colab


def _network():
    import functools

    import requests

    real = requests.Session.request

    @functools.wraps(real)
    def request(self, method, url, **options):
        google.colab.record(fetched=url)
        raw = os.environ["COLAB_RAW"]
        if not url.startswith(raw):
            raise requests.ConnectionError(f"the stand-in for Colab has no {url}")
        return real(self, method, os.environ["COLAB_ASSETS"] + url.removeprefix(raw), **options)

    requests.Session.request = request


_network()
del _network
