"""Image → command, from the committed table beside this file."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

TABLE = Path(__file__).with_name("images.yaml")
REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Program:
    """What an image runs: its entrypoint (none: the pod must say) and the directory it starts in (none: POD_ROOT)."""

    command: tuple[str, ...]
    directory: str | None
    digest: str


@dataclass(frozen=True)
class Images:
    """The registry of the lab."""

    entries: tuple[tuple[re.Pattern[str], dict[str, object]], ...]
    places: dict[str, str]

    @classmethod
    def load(cls, places: dict[str, str], table: Path = TABLE) -> "Images":
        """Read the table; `places` fill what its commands leave open."""
        document = yaml.safe_load(table.read_text())
        entries = tuple((_pattern(entry["image"], document["versions"]), entry) for entry in document["images"])
        return cls(entries, {"repository": str(REPOSITORY), **places})

    def resolve(self, image: str) -> Program | None:
        """What to run, or None when there is no such image: a digest after a tag has to be the image's own."""
        reference, _, digest = image.partition("@")
        if digest and not _digest(reference).endswith(f"@{digest}"):
            return None
        for pattern, entry in self.entries:
            if match := pattern.fullmatch(reference):
                fill = {**self.places, **match.groupdict()}
                directory = entry.get("directory")
                command = tuple(str(word).format(**fill) for word in entry.get("command", ()))
                return Program(command, directory and str(directory).format(**fill), _digest(reference))
        return None


def _pattern(image: str, versions: str) -> re.Pattern[str]:
    return re.compile(re.escape(image).replace(re.escape("{version}"), f"(?P<version>{versions})"))


def _digest(reference: str) -> str:
    """An image id as a registry would give it: the same for the same reference, different for others."""
    name = reference.rpartition(":")[0]
    return f"{name}@sha256:{hashlib.sha256(reference.encode()).hexdigest()}"


def services(table: Path = TABLE) -> list[str]:
    """The sample services that the table knows."""
    entries = yaml.safe_load(table.read_text())["images"]
    return [entry["image"].rpartition("/")[2].partition(":")[0] for entry in entries if "command" in entry]
