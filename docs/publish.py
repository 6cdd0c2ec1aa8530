"""Add a built site to those that are published: one folder a version.

    python docs/publish.py HTML SITE

The workflow `docs.yml` runs this. HTML is the built site, SITE a checkout of the branch
that GitHub Pages serves. There, `dev` is the site of the main branch, `1.2.3` that of
the tag `v1.2.3`, and `stable` a copy of the newest release, if there is one.
`switcher.json` lists what is there, for the version switcher on every page, and
`index.html` leads to `stable`, or to `dev` before the first release.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

_RELEASE = re.compile(r"(\d+)\.(\d+)\.(\d+)(\D.*)?")

_REDIRECT = """\
<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>sk_rqvae</title>
    <meta http-equiv="refresh" content="0; url=./{folder}/">
    <link rel="canonical" href="{address}{folder}/">
  </head>
  <body><a href="./{folder}/">Documentation of sk_rqvae</a></body>
</html>
"""


def address_of(repository: str) -> str:
    """Where GitHub Pages serves the sites of a repository, named `owner/name`."""
    owner, name = repository.split("/")
    return f"https://{owner.lower()}.github.io/{name}/"


def folder_of(environment: Mapping[str, str]) -> str:
    """The folder of the site that a workflow with these variables builds."""
    if environment.get("GITHUB_REF_TYPE") == "tag":
        return environment["GITHUB_REF_NAME"].removeprefix("v")
    return "dev"


def publish(html: Path, site: Path, folder: str, address: str) -> None:
    """Put a built site into its folder, and renew what depends on all folders."""
    _replace(site / folder, html)
    stable = next((each for each in _releases(site) if _is_final(each)), None)
    if stable:
        _replace(site / "stable", site / stable)
    switcher = _switcher(site, stable, address)
    redirect = _REDIRECT.format(folder="stable" if stable else "dev", address=address)
    (site / "switcher.json").write_text(json.dumps(switcher, indent=2) + "\n")
    (site / "index.html").write_text(redirect)
    (site / ".nojekyll").touch()  # Pages would leave out folders like `_static`


def _replace(target: Path, source: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def _releases(site: Path) -> list[str]:
    """The folders of releases, newest first."""
    names = [path.name for path in site.iterdir() if _RELEASE.fullmatch(path.name)]
    return sorted(names, key=_age, reverse=True)


def _age(release: str) -> tuple[list[int], bool, str]:
    """A key that grows with the version; release candidates precede their release."""
    *numbers, suffix = _RELEASE.fullmatch(release).groups()
    return [int(number) for number in numbers], suffix is None, suffix or ""


def _is_final(release: str) -> bool:
    return _RELEASE.fullmatch(release)[4] is None


def _switcher(
    site: Path, stable: str | None, address: str
) -> list[dict[str, str | bool]]:
    """The versions that exist, in the form of pydata-sphinx-theme.

    The pages of a version find themselves by its `version`, which is their folder.
    """
    entries: list[dict[str, str | bool]] = [
        {"version": folder, "url": f"{address}{folder}/"}
        for folder in ("dev", *_releases(site))
        if (site / folder).is_dir()
    ]
    for entry in entries:
        if entry["version"] == stable:
            entry |= {"name": f"{stable} (stable)", "url": f"{address}stable/"}
            entry["preferred"] = True
    return entries


def main() -> None:
    """Read the folder and the address from the variables of GitHub's workflows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("html", type=Path)
    parser.add_argument("site", type=Path)
    arguments = parser.parse_args()
    address = address_of(os.environ["GITHUB_REPOSITORY"])
    publish(arguments.html, arguments.site, folder_of(os.environ), address)


if __name__ == "__main__":
    main()
