from __future__ import annotations

import itertools

import pytest
import torch
from conftest import new_generator

from sk_rqvae._initialization.kmeans import (
    kmeans,
    nearest_centre,
    progressive_kmeans,
    random_rows,
    stages,
)


def inertia(points, centres):
    return torch.cdist(points, centres).square().amin(1).sum().item()


@pytest.fixture
def clusters():
    """Five tight clusters of different sizes, and their centres."""
    torch.manual_seed(0)
    centres = 20 * torch.eye(5, 8)
    sizes = torch.tensor([200, 100, 50, 25, 25])
    points = centres.repeat_interleave(sizes, dim=0) + 0.1 * torch.randn(400, 8)
    return points[torch.randperm(400)], centres


def test_the_nearest_centre_is_the_one_at_the_smallest_distance():
    torch.manual_seed(0)
    points, centres = torch.randn(300, 6), torch.randn(11, 6)
    expected = torch.cdist(points, centres).argmin(1)
    assert torch.equal(nearest_centre(points, centres), expected)


def test_an_iteration_moves_each_centre_to_the_mean_of_its_points(clusters):
    points, centres = clusters
    initial = centres + 0.5
    moved = kmeans(points, initial, generator=new_generator(), n_iterations=1)
    nearest = nearest_centre(points, initial)
    means = torch.stack([points[nearest == code].mean(0) for code in range(5)])
    torch.testing.assert_close(moved, means)


def test_iterations_never_raise_the_error():
    torch.manual_seed(0)
    points = torch.randn(500, 4)
    initial = random_rows(points, 20, new_generator())
    errors = [
        inertia(
            points, kmeans(points, initial, generator=new_generator(), n_iterations=n)
        )
        for n in range(8)
    ]
    assert all(later <= earlier for earlier, later in itertools.pairwise(errors))


def test_kmeans_changes_neither_its_points_nor_its_initial_centres(clusters):
    points, centres = clusters
    before = points.clone(), centres.clone()
    kmeans(points, centres, generator=new_generator(), n_iterations=2)
    assert torch.equal(points, before[0])
    assert torch.equal(centres, before[1])


def test_an_empty_cluster_gets_points_again(clusters):
    points, centres = clusters
    initial = centres.clone()
    initial[4] = 1e6
    found = kmeans(points, initial, generator=new_generator(), n_iterations=4)
    assert inertia(points, found) < inertia(points, initial)
    assert torch.bincount(nearest_centre(points, found), minlength=5).min() > 0


def test_progressive_kmeans_finds_separate_clusters(clusters):
    points, _ = clusters
    found = progressive_kmeans(points.clone(), 10, generator=new_generator())
    assert inertia(points, found) < 0.2 * inertia(points, points.mean(0, keepdim=True))


def test_only_the_last_stages_use_all_points_and_dimensions(monkeypatch):
    shapes = []

    def watched(points, centres, **options):
        shapes.append(points.shape)
        return kmeans(points, centres, **options)

    monkeypatch.setattr("sk_rqvae._initialization.kmeans.kmeans", watched)
    progressive_kmeans(torch.randn(1000, 16), 3, generator=new_generator())
    assert shapes == sorted(shapes)
    assert shapes[0][0] < 1000
    assert shapes[0][1] < 16
    assert shapes[-1] == (1000, 16)


def test_one_cluster_is_the_mean():
    torch.manual_seed(0)
    points = torch.randn(100, 3)
    torch.testing.assert_close(
        progressive_kmeans(points.clone(), 1, generator=new_generator()),
        points.mean(0, keepdim=True),
    )


@pytest.mark.parametrize("n_points", [1, 2, 7])
def test_more_clusters_than_points_have_no_error_and_are_finite(n_points):
    torch.manual_seed(0)
    points = torch.randn(n_points, 3)
    found = progressive_kmeans(points.clone(), 12, generator=new_generator())
    assert found.shape == (12, 3)
    assert torch.isfinite(found).all()
    assert inertia(points, found) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_identical_points_give_centres_on_them(value):
    points = torch.full((50, 4), value)
    found = progressive_kmeans(points.clone(), 6, generator=new_generator())
    assert torch.isfinite(found).all()
    assert inertia(points, found) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("dim", [1, 2, 5, 384])
def test_the_stages_grow_to_all_dimensions(dim):
    found = stages(dim)
    assert found == sorted(set(found))
    assert found[0] >= 1
    assert found[-1] == dim


def test_random_rows_repeat_only_if_there_are_too_few():
    torch.manual_seed(0)
    points = torch.arange(10.0).unsqueeze(1)
    assert len(torch.unique(random_rows(points, 10, new_generator()))) == 10
    counts = torch.bincount(random_rows(points, 25, new_generator()).flatten().long())
    assert counts.min() == 2
    assert counts.max() == 3


def test_one_seed_gives_one_result(clusters):
    points, _ = clusters
    found = []
    for _ in range(2):
        torch.manual_seed(7)
        found.append(progressive_kmeans(points.clone(), 9, generator=new_generator()))
    assert torch.equal(*found)
