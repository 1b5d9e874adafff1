"""What a notebook in a browser tab says to Jupyter: messages of a real kernel, over a real connection."""

import json
import uuid

import websocket


class Tab:
    """An open notebook. It has a kernel, listens to it, and asks what JupyterLab asks every few seconds."""

    def __init__(self, pod) -> None:
        self._pod = pod
        self.kernel = pod.api("/api/kernels", "POST", {"name": "python3"})["id"]
        url = f"ws://127.0.0.1:{pod.jupyter_port}/api/kernels/{self.kernel}/channels"
        header = [f"Authorization: token {pod.token}"]
        self._socket = websocket.create_connection(url, header=header, timeout=30)

    def send(self, code: str) -> str:
        """Send a cell and return the id of its message."""
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "username": "",
            "session": "tab",
            "version": "5.3",
        }
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        self._socket.send(json.dumps(message))
        return header["msg_id"]

    def run(self, code: str) -> str:
        """Run a cell and return what it printed."""
        sent, printed = self.send(code), ""
        while True:
            message = json.loads(self._socket.recv())
            if message["parent_header"].get("msg_id") != sent:
                continue
            if message["msg_type"] == "stream":
                printed += message["content"]["text"]
            if message["msg_type"] == "error":
                raise AssertionError("\n".join(message["content"]["traceback"]))
            # Not its reply: that comes by another channel, and may be before what was printed.
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return printed

    def poll(self) -> None:
        """Ask what every open tab asks all the time."""
        for what in ("kernels", "sessions", "terminals"):
            self._pod.api(f"/api/{what}")
