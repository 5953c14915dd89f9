"""A program that serves jobs on an inherited socket: ``stream_server.py KIND FD``."""

from __future__ import annotations

import socket
import sys

from flask import Flask

from flask_bgtask import BackgroundTasks

bg = BackgroundTasks()


def create_app() -> Flask:
    app = Flask("streams")
    app.config.update(BGTASK_STORE="memory")
    bg.init_app(app)
    bg.authorize(lambda action, job: True)
    return app


def main(kind: str, fd: int) -> None:
    app = create_app()
    if kind == "waitress":
        import waitress

        waitress.serve(app, sockets=[socket.socket(fileno=fd)], threads=2)
    else:
        from werkzeug.serving import make_server

        make_server("localhost", 0, app, threaded=kind == "threaded", fd=fd).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
