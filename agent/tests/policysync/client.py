"""A client of the policy sync API, generated from the protocol file by protoc.

client.py FELIXBACKEND_PROTO SOCKET prints, one JSON text a line, the messages
of a stream until it is in sync, and then the answer to a report. With a third
argument it reads on until the stream ends, which must be without an error.
"""

import importlib
import sys
import tempfile
from pathlib import Path

import grpc
import grpc_tools.protoc
from google.protobuf.json_format import MessageToJson


def generate(proto: Path, into: str):
    arguments = ["protoc", f"-I{proto.parent}", f"--python_out={into}", f"--grpc_python_out={into}", proto.name]
    if grpc_tools.protoc.main(arguments) != 0:
        sys.exit(f"protoc cannot compile {proto}")
    sys.path.insert(0, into)
    return importlib.import_module(f"{proto.stem}_pb2"), importlib.import_module(f"{proto.stem}_pb2_grpc")


def show(message):
    print(MessageToJson(message, indent=None), flush=True)


def main():
    proto, socket = Path(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory() as generated, grpc.insecure_channel(f"unix:{socket}") as channel:
        messages, services = generate(proto, generated)
        client = services.PolicySyncStub(channel)
        stream = client.Sync(messages.SyncRequest(), timeout=20)
        to_the_end = len(sys.argv) > 3
        for message in stream:
            show(message)
            if message.HasField("in_sync") and not to_the_end:
                break
        show(client.Report(messages.DataplaneStats(src_ip="10.65.0.1"), timeout=20))
        stream.cancel()


main()
