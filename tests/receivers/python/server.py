"""Receivers in Python. Says its port on standard output, what was received at /_seen."""

import json
import logging
import os
import pathlib

import flask
from werkzeug.serving import make_server

from verifying import RECEIVERS

SETTINGS = json.loads(os.environ["RECEIVER_SETTINGS"])
PUBLISHED = pathlib.Path(__file__).parent.parent / "published" / "licvalidator.py"

app = flask.Flask(__name__)
seen = {}


def saw(path, value):
    seen.setdefault(path, []).append(value)


class Watched:
    """Flask's request, which tells what the handler read."""

    def __getattr__(self, name):
        return getattr(flask.request, name)

    def get_json(self):
        value = flask.request.get_json()
        saw(flask.request.path, value)
        return value


exec(  # the handler as it stands, with the names that it expects of its surroundings
    compile(PUBLISHED.read_text(), PUBLISHED.name, "exec"),
    {"app": app, "request": Watched(), "abort": flask.abort, "WEBHOOK_SECRET": SETTINGS["secret"]},
)


@app.post("/<path:path>")
def receive(path):
    receiver = RECEIVERS.get(f"/{path}")
    if receiver is None:
        return "", 404
    try:
        value = receiver(flask.request, SETTINGS)
    except Exception as error:  # whatever a library raises is its refusal
        return repr(error), 400
    saw(f"/{path}", value)
    return "", 200


@app.get("/_seen")
def tell():
    return seen


logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = make_server("127.0.0.1", 0, app, threaded=True)
print(f"listening {server.port}", flush=True)
server.serve_forever()
