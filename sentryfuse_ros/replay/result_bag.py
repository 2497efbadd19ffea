"""The result of a replay as an mcap file, for Foxglove or Rerun: what fuse_node published, and its inputs if wanted."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from ..bags.bag import Bag
from ..bags.labels import Labels
from ..bags.message_types import typestore_of
from ..errors import DataError, reason_of
from ..nanoseconds import NS_PER_S
from ..paths import share_path

OWN_MESSAGES = (
    "Caption",
    "AudioChunk",
    "FusedPrediction",
    "ModalityMask",
    "ModalityStatus",
    "ModelInfo",
    "PruningState",
    "StreamState",
)
OWN_TOPICS = {
    "/fuse_node/prediction": "sentryfuse_ros/msg/FusedPrediction",
    "/fuse_node/mask": "sentryfuse_ros/msg/ModalityMask",
    "/fuse_node/pruning": "sentryfuse_ros/msg/PruningState",
    "/fuse_node/model_info": "sentryfuse_ros/msg/ModelInfo",
    "/fuse_node/caption_stamped": "sentryfuse_ros/msg/Caption",
    "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
}
TRUTH_TOPIC, TRUTH_TYPE = "/sentryfuse/truth", "std_msgs/msg/String"


def own_types() -> Typestore:
    """The standard message types and those of this package."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name in OWN_MESSAGES:
        full_name = f"sentryfuse_ros/msg/{name}"
        if full_name not in store.fielddefs:
            store.register(get_types_from_msg(share_path("msg", f"{name}.msg").read_text(encoding="utf-8"), full_name))
    return store


class ResultBag:
    """Writes an mcap file; `close` completes it. Its times are those of the recording. Any thread may write.

    inputs: topic -> type of the recording's topics that are written too. Raises DataError if the file cannot be written.
    """

    def __init__(self, path: Path, bag: Bag, inputs: Mapping[str, str]):
        self.path = path
        self._target = path.resolve()  # a link stays
        self._lock = threading.Lock()
        self._closed = False
        if self._target.exists() and not self._target.is_file():
            raise DataError(f"result file {path}", "a folder, device or pipe", "a file", "choose another --mcap")
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=".sentryfuse_", dir=self._target.parent))
            # `rosbags` writes a folder; the file in it is what is wanted.
            self._writer = Writer(self._folder / "run", version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        except OSError as error:
            raise self._no_room(error) from error
        self._connections: dict[str, Connection] = {}
        try:
            self._announce(bag, inputs)
        except BaseException:
            self.discard()
            raise

    def _announce(self, bag: Bag, inputs: Mapping[str, str]) -> None:
        """Tell the file of every topic."""
        store = own_types()
        for topic, msg_type in {**OWN_TOPICS, TRUTH_TOPIC: TRUTH_TYPE}.items():
            self._connections[topic] = self._writer.add_connection(topic, msg_type, typestore=store)
        self._truth = store.types[TRUTH_TYPE]
        self._store = store
        recorded = {c.topic: c for c in bag.connections}
        for topic, msg_type in inputs.items():
            known = store if msg_type in store.fielddefs else typestore_of(recorded[topic])
            self._connections[topic] = self._writer.add_connection(topic, msg_type, typestore=known)

    def write(self, topic: str, time_ns: int, raw: bytes) -> None:
        """Write a serialised message, if its topic is one that was announced."""
        connection = self._connections.get(topic)
        with self._lock:
            if connection is not None and not self._closed:
                try:
                    self._writer.write(connection, max(time_ns, 0), raw)
                except OSError as error:
                    raise self._no_room(error) from error

    def write_truth(self, labels: Labels, start_ns: int, end_s: float) -> None:
        """Write the label that holds from each time on, as text; "" where there is none."""
        end_ns = round(end_s * NS_PER_S)
        changes: dict[int, str] = {}
        for interval in labels.intervals:
            if interval.from_ns < end_ns and interval.to_ns > 0:
                changes[max(interval.from_ns, 0)] = interval.label
                if interval.to_ns < end_ns:
                    changes.setdefault(interval.to_ns, "")
        for from_ns, label in sorted(changes.items()):
            text = bytes(self._store.serialize_cdr(self._truth(label), TRUTH_TYPE))
            self.write(TRUTH_TOPIC, start_ns + from_ns, text)

    def close(self) -> None:
        """Complete the file and move it to its place. Raises DataError."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                self._writer.close()
                os.replace(self._folder / "run" / "run.mcap", self._target)
            except OSError as error:
                raise self._no_room(error) from error
            finally:
                shutil.rmtree(self._folder, ignore_errors=True)

    def discard(self) -> None:
        """Remove what was written, as after a run that failed."""
        with self._lock:
            if not self._closed:
                self._closed = True
                shutil.rmtree(self._folder, ignore_errors=True)

    def _no_room(self, error: OSError) -> DataError:
        return DataError(f"result file {self.path}", reason_of(error), "a file that can be written", "choose another --mcap")
