"""A server that draws, for each request, how to misbehave; `fetch` must give the right file or one sentence and no file.

    python tests/reliability/network.py --trials 500 --write

Each trial: a fresh folder, some requests answered badly, then a healed server, from which the same call must get the file.
"""

import argparse
import collections
import hashlib
import http.server
import os
import random
import socket
import struct
import sys
import tempfile
import threading
from pathlib import Path

os.environ["no_proxy"] = "*"

from tqdm import tqdm

from xferlab.domains import download
from xferlab.errors import ChecksumError, DownloadError

BODY = random.Random(0).randbytes(60_000)
MD5 = hashlib.md5(BODY).hexdigest()
LOGIN = b"<!DOCTYPE html><html>Please log in to the hotel's wifi</html>"


class Bad(http.server.BaseHTTPRequestHandler):
    """Answers as the server's list `coming` says, and well when it is empty."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        how, cut = self.server.coming.pop(0) if self.server.coming else ("well", 0)
        self.server.seen[how] += 1
        self.close_connection = True
        if how in ("503", "429", "404"):
            return self.send_error(int(how))
        if how == "redirects for ever":
            return self.answer(302, b"", {"Location": self.path})
        if how == "garbage":
            return self.wfile.write(random.Random(cut).randbytes(200))
        if how == "silent":
            return self.server.silence.wait(1)
        if how == "error page":
            return self.answer(200, LOGIN)
        if how == "wrong bytes":
            return self.answer(200, bytes(len(BODY)))
        if how == "empty":
            return self.answer(200, b"")
        if how == "chunks that end early":
            self.answer(200, b"", {"Transfer-Encoding": "chunked"}, length=None)
            self.wfile.write(b"8000\r\n" + BODY[:cut])
        elif how == "no length":
            self.answer(200, BODY[:cut], length=None)
        elif how == "too long":
            self.answer(200, BODY + b"more")
        elif how == "reset":
            self.answer(200, BODY[:cut], length=len(BODY))
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif how == "stall":
            self.answer(200, BODY[:cut], length=len(BODY))
            self.wfile.flush()
            self.server.silence.wait(1)
        else:
            self.answer(200, BODY[:cut] if how == "drop" else BODY, length=len(BODY))

    def answer(self, status, body, headers=(), length=-1):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):  # the other end gave up
            pass

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            pass


WAYS = (
    "well", "drop", "reset", "stall", "silent", "503", "429", "404", "redirects for ever", "garbage", "error page", "wrong bytes",
    "empty", "chunks that end early", "no length", "too long",
)  # fmt: skip


def main(trials: int, seed: int = 0) -> list[str]:
    """A line for the page. Raises AssertionError with the trial that broke a rule."""
    draw, ended = random.Random(seed), collections.Counter()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bad)
    server.coming, server.seen, server.silence, server.daemon_threads = (
        [],
        collections.Counter(),
        threading.Event(),
        True,
    )
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url, before = f"http://127.0.0.1:{server.server_port}/set.npz", (download.TIMEOUT, download.PAUSE)
    download.TIMEOUT, download.PAUSE = 0.15, 0.001
    try:
        for trial in tqdm(range(trials), delay=2):
            plan = [(draw.choice(WAYS), draw.randrange(30_000)) for _ in range(draw.randint(1, 7))]
            server.coming[:] = plan
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "cache" / "set.npz"
                try:
                    download.fetch(url, path, MD5)
                    ended["fetched"] += 1
                except (DownloadError, ChecksumError) as error:
                    ended[type(error).__name__] += 1
                    assert "\n" not in str(error) and len(str(error)) < 600, f"trial {trial}, {plan}: {error}"
                    assert not path.exists(), f"trial {trial}, {plan}: a failed download left a file"
                    server.coming.clear()
                    download.fetch(url, path, MD5)
                assert path.read_bytes() == BODY, f"trial {trial}, {plan}: other bytes than promised"
    finally:
        download.TIMEOUT, download.PAUSE = before
        server.silence.set()
        server.shutdown()
        server.server_close()
    bad = server.seen.total() - server.seen["well"]
    return [
        f"{trials} downloads, {bad:,} of {server.seen.total():,} requests answered in one of {len(WAYS) - 1} bad ways: "
        + ", ".join(f"{how} {n}" for how, n in ended.most_common())
        + "; a failed one left no file, and the same call got it once the server was well"
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="into tests/README.md")
    options = parser.parse_args()
    found = main(options.trials, options.seed)
    sys.path.insert(0, str(Path(__file__).parent))
    from figures import report

    report("network", found, options.write)
