"""The folders of the published documentation and the list of its versions."""

from __future__ import annotations

import json

import pytest

from publish import address_of, folder_of, publish

ADDRESS = "https://someone.github.io/fork/"


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


def add(site, folder, text=None):
    """Publish a site of one page, which has the name of its folder as its text."""
    html = site.parent / f"{folder}-html"
    html.mkdir(exist_ok=True)
    (html / "index.html").write_text(text or folder)
    publish(html, site, folder, ADDRESS)


def listed(site):
    return json.loads((site / "switcher.json").read_text())


def versions(site):
    return [entry["version"] for entry in listed(site)]


def linked_folders(site):
    return [entry["url"].removeprefix(ADDRESS).rstrip("/") for entry in listed(site)]


def leads_to(site):
    redirect = (site / "index.html").read_text()
    (folder,) = {name for name in ("dev", "stable") if f"./{name}/" in redirect}
    return folder


def test_before_the_first_release_nothing_leads_to_a_stable_version(site):
    for folder in ("dev", "1.0.0rc1"):
        add(site, folder)
        assert not (site / "stable").exists()
        assert leads_to(site) == "dev"
        assert "stable" not in (site / "switcher.json").read_text()


def test_every_link_leads_to_a_folder_that_exists(site):
    for folder in ("dev", "0.9.0", "1.0.0rc1", "1.0.0", "0.9.1", "dev"):
        add(site, folder)
        for name in (leads_to(site), *linked_folders(site)):
            assert (site / name / "index.html").is_file()


def test_stable_is_the_newest_release_whatever_is_published_last(site):
    for folder in ("1.9.0", "1.10.0", "1.9.1", "2.0.0rc1", "dev"):
        add(site, folder)
    assert (site / "stable" / "index.html").read_text() == "1.10.0"
    assert leads_to(site) == "stable"
    assert versions(site) == ["dev", "2.0.0rc1", "1.10.0", "1.9.1", "1.9.0"]
    assert linked_folders(site).count("stable") == 1


def test_a_site_replaces_that_of_its_version_and_no_other(site):
    add(site, "1.0.0")
    add(site, "dev", "old")
    (site / "dev" / "removed.html").touch()
    add(site, "dev", "new")
    assert (site / "dev" / "index.html").read_text() == "new"
    assert not (site / "dev" / "removed.html").exists()
    assert (site / "1.0.0" / "index.html").read_text() == "1.0.0"


def test_other_files_of_the_branch_stay_and_are_no_versions(site):
    (site / "CNAME").write_text("docs.example")
    add(site, "dev")
    assert (site / "CNAME").read_text() == "docs.example"
    assert versions(site) == ["dev"]


def test_a_tag_has_a_folder_of_its_own_and_a_branch_that_of_the_main_one():
    tag = {"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v1.2.3"}
    assert folder_of(tag) == "1.2.3"
    assert folder_of({"GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "main"}) == "dev"
    assert folder_of({}) == "dev"


def test_pages_are_served_under_the_name_of_the_repository():
    assert address_of("Someone/fork") == ADDRESS
