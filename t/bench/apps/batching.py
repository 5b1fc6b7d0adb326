"""The LitServe peer: the batched stand-in for a model that t/bench/models.py gives to owt. For its own Python."""

import sys
import time
from typing import Any

import litserve


class Api(litserve.LitAPI):  # type: ignore[misc]
    """As LitServe wants a model."""

    def setup(self, device: object) -> None:
        """Loads nothing."""

    def decode_request(self, request: dict[str, str]) -> str:
        """One item."""
        return request["name"]

    def predict(self, names: list[str]) -> list[str]:
        """A device that takes 2 ms for a call and 50 microseconds for each item."""
        time.sleep(0.002 + 0.00005 * len(names))
        return [f"Hello, {name}!" for name in names]

    def encode_response(self, output: Any) -> Any:
        """JSON."""
        return output


if __name__ == "__main__":
    api = Api(max_batch_size=32, batch_timeout=0.002, api_path="/")
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False, log_level="warning"
    )
