"""A request bin: answers each POST with the headers that it received, as ``verify`` needs it."""

import http.server
import json
import threading
from collections.abc import Collection
from typing import Self


class RequestBin:
    """Serves on a port of its own; *loses* names headers, in lower case, that its answers leave out."""

    def __init__(self, *, loses: Collection[str] = ()) -> None:
        self.paths: list[str] = []
        bin_ = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                bin_.paths.append(self.path)
                kept = {name: value for name, value in self.headers.items() if name.lower() not in loses}
                body = json.dumps({"id": "1", "headers": kept}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Log nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
