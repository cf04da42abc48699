"""An HTTP server that counts what it is asked for, and answers as its path says"""
import gzip
import os
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = os.urandom(1 << 16)


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        getattr(self, self.path.split("/")[1].partition("?")[0])()
    def head(self, status=200, **headers):
        self.send_response(status)
        for key, value in headers.items(): self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
    def ok(self): self.head(Content_Length=len(BODY)); self.wfile.write(BODY)
    def short(self): self.head(Content_Length=len(BODY) + 9); self.wfile.write(BODY)
    def chunked(self):
        self.protocol_version = "HTTP/1.1"
        self.head(Transfer_Encoding="chunked")
        self.wfile.write(b"5\r\nbytes\r\n0\r\n\r\n")
    def huge(self): self.head(Content_Length=10 << 30)
    def endless(self):
        self.head()
        try:
            while True: self.wfile.write(BODY)
        except OSError: pass
    def drip(self):
        self.head(Content_Length=1 << 20)
        try:
            while True: self.wfile.write(b"x"); time.sleep(0.05)
        except OSError: pass
    def bomb(self): self.head(Content_Encoding="gzip"); self.wfile.write(gzip.compress(bytes(1 << 24)))
    def status(self): self.head(int(self.path.rpartition("/")[2]), Content_Length=0)
    def moved(self): # /moved/302?to=ADDRESS
        status, _, to = self.path.removeprefix("/moved/").partition("?to=")
        self.head(int(status), Location=to, Content_Length=0)
    def nowhere(self): self.head(302, Content_Length=0)
    def circle(self): self.head(302, Location=self.path, Content_Length=0)
    def log_message(self, *args): pass


@contextmanager
def serving():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads, server.asked = True, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield server
    finally: server.shutdown(); server.server_close()
