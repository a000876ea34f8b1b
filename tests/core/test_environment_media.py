"""What an environment's file says of media: where they are, and that no destination is the same place."""

from __future__ import annotations

import pytest

from onlyvips import environment as environments
from tests.core.test_environment_secrets import PRODUCTION, Changes, edited, sentences

HEAD = (
    "  media:                                            # (ours) the plan: S3 media storage; who may read all of it\n"
)
REST = PRODUCTION[PRODUCTION.index(HEAD) + len(HEAD) : PRODUCTION.index("  leases: {")]
WITH_SECRET = "access_key: env:ONLYVIPS_MEDIA_ACCESS_KEY"
ON_DISK: Changes = [("  media: s3\n", "  media: directory\n"), (REST, "    kind: directory\n    path: /srv/media\n")]

BROKEN: dict[str, tuple[Changes, str]] = {
    "nothing to read with": (
        [(HEAD + REST, "")],
        "backup.media: this key is missing: platform.media is s3, and their backup must know where they are",
    ),
    "a reader of nothing": (
        [("  media: s3\n", "  media: none\n")],
        "backup.media: platform.media is none: leave it out",
    ),
    "the other kind": (
        [("  media: s3\n", "  media: directory\n")],
        "backup.media.kind: platform.media is directory: write `kind: directory`",
    ),
    "a bucket without a key": (
        [("    secret_key: env:ONLYVIPS_MEDIA_SECRET_KEY\n", "")],
        "backup.media.secret_key: this key is missing: kind s3 needs it",
    ),
    "a bucket with a path": (
        [(HEAD, HEAD + "    path: /srv/media\n")],
        "backup.media.path: kind s3 has no such key: leave it out",
    ),
    "a directory with a prefix": (
        [*ON_DISK[:1], (REST, "    kind: directory\n    path: /srv/media\n    prefix: a/\n")],
        "backup.media.prefix: kind directory has no such key: leave it out",
    ),
    "a directory without a path": (
        [*ON_DISK[:1], (REST, "    kind: directory\n")],
        "backup.media.path: this key is missing: kind directory needs it",
    ),
    "the bucket of the backups": (
        [("bucket: onlyvips-media", "bucket: onlyvips-backup")],
        "backup.media: the media and the destination s3-a are one place: a copy beside the original is none",
    ),
    "the directory of the backups": (
        [*ON_DISK[:1], (REST, "    kind: directory\n    path: /var/lib/onlyvips-backup/\n")],
        "backup.media: the media and the destination directory are one place",
    ),
    "a key itself": ([(WITH_SECRET, "access_key: AKIA123")], "a secret must be a reference"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_media_that_could_not_be_backed_up_are_refused(case: str):
    changes, sentence = BROKEN[case]
    with pytest.raises(environments.EnvironmentInvalid) as raised:
        environments.from_text(edited(changes), "production", "production.yaml")
    assert sentence in str(raised.value)
    assert "AKIA123" not in str(raised.value)


def test_a_bucket_and_a_directory_are_read_as_the_file_says():
    bucket = environments.from_text(PRODUCTION, "production", "production.yaml")
    assert bucket.backup.media and bucket.backup.media.bucket == "onlyvips-media"
    told = "Media: bucket onlyvips-media at https://s3.eu-central-1.amazonaws.com as plain objects"
    assert any(each.startswith(told) for each in sentences(bucket))
    directory = environments.from_text(edited(ON_DISK), "production", "production.yaml")
    assert directory.backup.media and directory.backup.media.path == "/srv/media"
    assert any(each.startswith("Media: /srv/media as plain objects") for each in sentences(directory))
