"""A web server on loopback with files by path, which breaks off, moves and refuses as told."""

import contextlib
import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """The server with its state.

    Attributes:
        url: Its address.
        files: Contents by path.
        cut: Bytes after which the next answers for a path end, by path.
        failing: Statuses of the next answers for a path, by path.
        ranges: Whether parts of files are given.
        requests: Path and range of all that was asked, in order.
    """

    def __init__(self):
        self.files, self.cut, self.failing, self.requests = {}, {}, {}, []
        self.ranges = True
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                web.requests.append((self.path, self.headers.get("Range")))
                content = web.files.get(self.path)
                status = 404 if content is None else 200
                if web.failing.get(self.path):
                    status = web.failing[self.path].pop(0)
                if status != 200:
                    content = b"no"
                tag = f'"{hashlib.sha1(content).hexdigest()}"'
                begin, asked = 0, re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                if status == 200 and asked and web.ranges and self.headers["If-Range"] == tag:
                    status, begin = 206, int(asked[1])
                self.send_response(status)
                self.send_header("ETag", tag)
                self.send_header("Content-Length", str(len(content) - begin))
                self.end_headers()
                body = content[begin:]
                if status < 300 and web.cut.get(self.path):
                    body = body[: web.cut[self.path].pop(0)]
                    self.close_connection = True
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
