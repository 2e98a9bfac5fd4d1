"""The receivers' processes, with a clock that can be set, and recorders before them."""

import http.client
import http.server
import json
import os
import pathlib
import socket
import subprocess
import threading
import urllib.request

from fanfare import wait_for

HERE = pathlib.Path(__file__).parent.parent
INSTALLED = pathlib.Path(os.environ["RECEIVERS_INSTALLED"])
FAKETIME = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
PROCESSES = ("node", "python", "php")
START_SECONDS = 30


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Receivers:
    """One process for each language."""

    def __init__(self, folder, settings, clock="+0"):
        folder.mkdir()
        self.clock = folder / "clock"
        self.set_clock(clock)
        self.processes = []
        environment = {
            "PATH": os.environ["PATH"],
            "TZ": "UTC",
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "RECEIVER_SETTINGS": json.dumps(settings),
            "WEBHOOK_SECRET": settings["secret"],
        }
        php_port = free_port()
        node = ["node", str(INSTALLED / "node" / "server.mjs")]
        python = [str(INSTALLED / "python" / "bin" / "python"), str(HERE / "python" / "server.py")]
        php = ["php", "-S", f"127.0.0.1:{php_port}", str(HERE / "php" / "router.php")]
        # What they print goes to files: a pipe that nobody reads would fill up.
        self.logs = {name: folder / f"{name}.log" for name in PROCESSES}
        for name, command in (("node", node), ("python", python), ("php", php)):
            self.processes.append(subprocess.Popen(
                command, env=environment, stdout=self.logs[name].open("w"),
                stderr=subprocess.STDOUT))
        self.ports = {"php": php_port}
        for name in ("node", "python"):
            self.ports[name] = wait_for(name, START_SECONDS, lambda name=name: self.port_of(name))
        wait_for("php", START_SECONDS, lambda: "started" in self.logs["php"].read_text())

    def port_of(self, name):
        text = self.logs[name].read_text()
        if any(process.poll() is not None for process in self.processes):
            raise RuntimeError(f"a receiver ended:\n{text}")
        said = [line for line in text.splitlines() if line.startswith("listening ")]
        return int(said[0].split()[1]) if said else None

    def set_clock(self, clock):
        """An offset such as +301, or a time at which the clock stands still."""
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(f"{clock}\n")
        fresh.rename(self.clock)

    def seen(self):
        """What was read, by (process, path)."""
        everything = {}
        for name in ("node", "python"):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/_seen") as answer:
                for path, values in json.load(answer).items():
                    everything[name, path] = values
        return everything

    def send(self, name, method, target, headers, body):
        """Sends these bytes as they are; answers status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=20)
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for header, value in headers:
            if header.lower() not in ("connection", "content-length"):
                connection.putheader(header, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Connection", "close")
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()

    def stop(self):
        for process in self.processes:
            if process.poll() is not None:
                said = {name: log.read_text()[-2000:] for name, log in self.logs.items()}
                print(f"a receiver ended with {process.returncode}: {said}")
            process.terminate()
        for process in self.processes:
            process.wait(10)


class Recorder:
    """Stands before one receiver, passes everything on, and keeps it."""

    def __init__(self, name):
        self.receivers = None  # once they run
        self.requests = []
        self.lost = set()  # targets whose next answer does not come through
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # an answer leaves in one piece

            def log_message(self, *_):
                pass

            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = self.headers.items()
                status, answered, text = recorder.receivers.send(
                    name, self.command, self.path, headers, body)
                request = {"method": self.command, "target": self.path, "headers": headers,
                           "body": body, "status": status, "text": text}
                recorder.requests.append(request)
                if self.path in recorder.lost:
                    recorder.lost.discard(self.path)
                    status, answered, text = 500, [], b"the answer was lost"
                self.send_response_only(status)
                for header, value in answered:
                    if header.lower() not in ("connection", "content-length", "transfer-encoding"):
                        self.send_header(header, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_OPTIONS = do_GET = pass_on

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # A sender that has waited long enough hangs up; its own record says so.
        self.server.handle_error = lambda *_: None
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def at(self, target):
        return [one for one in self.requests if one["target"] == target]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
