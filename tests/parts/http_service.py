"""A plain HTTP service that knows nothing of Portcullis: the functions of a small notebook (POST /{function}) and a
service with routes of its own (/invoices). Prints its port once it listens; ends with its parent's pipe."""
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

notes: dict[str, str] = {}
lock = threading.Lock()


def list_notes(params: dict) -> dict:
    return {"status": "success", "summary": f"{len(notes)} notes", "data": {"notes": list(notes.values())}}


def create_note(params: dict) -> dict:
    with lock:
        note_id = f"note-{len(notes) + 1}"
        notes[note_id] = params["title"]
    return {"status": "success", "summary": f"{note_id} written", "data": {"note_id": note_id}}


def delete_note(params: dict) -> dict:
    with lock:
        if notes.pop(params["note_id"], None) is None:
            return {"status": "error", "error": "there is no such note", "retryable": False}
    return {"status": "success", "summary": "deleted", "data": params}


FUNCTIONS = {"/list_notes": list_notes, "/create_note": create_note, "/delete_note": delete_note}


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer({"path": self.path, "authorization": self.headers.get("authorization")})

    def do_DELETE(self) -> None:
        self.answer({"path": self.path, "deleted": True})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        function = FUNCTIONS.get(self.path)
        self.answer(function(json.loads(body)) if function else {"path": self.path, "got": body.decode()})

    def answer(self, value: dict) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
