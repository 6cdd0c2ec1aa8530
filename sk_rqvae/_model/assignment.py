"""The assignment of IDs to rows: candidates, their costs and their prices."""

from __future__ import annotations

import torch
from torch import Tensor

from sk_rqvae._defaults import CANDIDATES_PER_BEAM
from sk_rqvae._model.autoencoder import Autoencoder
from sk_rqvae._model.beam_search import PreparedBeamSearch
from sk_rqvae._model.id_prices import PriceList, id_keys, look_up
from sk_rqvae._model.shortlist import (
    PreparedShortlist,
    ShortlistDecoder,
    refined_costs,
)

SHORTLIST_BUFFERS = tuple(f"shortlist_{name}" for name in ShortlistDecoder._fields)
"""Buffers of `RQVAEModule` that are empty without a narrow decoder."""


class IDAssignment(Autoencoder):
    """Search candidate IDs of rows and choose among them.

    `RQVAEModule` creates the parts and describes them.
    """

    rerank: bool | str
    latent_unit: Tensor
    price_keys: Tensor
    prices: Tensor
    shortlist_units: Tensor
    shortlist_readout: Tensor
    shortlist_axes: Tensor
    shortlist_margin: Tensor

    def prepare_search(self, min_candidates: int = 1) -> PreparedBeamSearch:
        """Prepare the search of `candidates` and `assign`, to be used for many batches.

        It is valid as long as the codebooks do not change. With `rerank`, it has more
        beams than training, because the best reconstruction often belongs to a beam
        that is not nearest to the latent.

        Parameters
        ----------
        min_candidates : int, default=1
            Search at least as many beams.

        Returns
        -------
        PreparedBeamSearch
        """
        n_beams = self.quantizer.n_beams
        if self.rerank and n_beams > 1:
            n_beams *= CANDIDATES_PER_BEAM
        return self.quantizer.prepare_search(max(n_beams, min_candidates))

    def prepare_assignment(self) -> PreparedBeamSearch:
        """Prepare the search of `assign`, to be used for many batches.

        It is that of `prepare_search`, unless the model has a narrow decoder.
        """
        if not (len(self.shortlist_units) and self.can_shortlist()):
            return self.prepare_search()
        prepared = self.prepare_search()
        prepared.shortlist = PreparedShortlist(
            ShortlistDecoder(*(getattr(self, name) for name in SHORTLIST_BUFFERS)),
            self.decoder,
            torch.cat(self.quantizer.codebooks()),
            self.quantizer.offsets,
        )
        return prepared

    def candidates(
        self, x: Tensor, prepared: PreparedBeamSearch | None = None
    ) -> tuple[Tensor, Tensor]:
        """Candidate IDs of standardised rows, and their costs without prices.

        1. Beam search finds the candidates.
        2. The error of a candidate is its squared distance to the latent. With `rerank`
           it is the error of the decoded candidate instead (see `row_losses`).
        3. The cost is this error plus the weighted errors of the candidate's prefixes.
           With `rerank`, `latent_unit` converts these from the latent space.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
        prepared : PreparedBeamSearch, optional
            Result of `prepare_search`, to prepare once for many batches.

        Returns
        -------
        codes : Tensor of shape (n, n_candidates, n_layers), int64
        costs : Tensor of shape (n, n_candidates), float64
        """
        prepared = prepared or self.prepare_search()
        codes, errors, penalties = prepared.search(self.encode(x))
        n_candidates = codes.shape[1]
        if self.rerank and n_candidates > 1:
            decoded = self.reconstruct(codes.flatten(0, 1))
            decoded = decoded.unflatten(0, (-1, n_candidates))
            errors = self.row_losses(x.unsqueeze(1), decoded)
            penalties = self.latent_unit * penalties
        return codes, (errors + penalties).double()

    def assignment_costs(
        self, x: Tensor, prepared: PreparedBeamSearch | None = None
    ) -> tuple[Tensor, Tensor]:
        """Candidate IDs of standardised rows, and the costs that `assign` compares.

        Without a narrow decoder they are those of `candidates`. With one, costs are
        estimated, and only the lowest ones are computed exactly.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
        prepared : PreparedBeamSearch, optional
            Result of `prepare_assignment`, to prepare once for many batches.

        Returns
        -------
        codes : Tensor of shape (n, n_candidates, n_layers), int64
        costs : Tensor of shape (n, n_candidates), float64
            Without prices.
        """
        prepared = prepared or self.prepare_assignment()
        if prepared.shortlist is None:
            return self.candidates(x, prepared)
        shortlist = prepared.shortlist
        codes, _, penalties = prepared.search(self.encode(x))
        penalties = self.latent_unit * penalties

        def exact_costs(rows: Tensor, which: Tensor) -> Tensor:
            errors = self.row_losses(x[rows], shortlist.decode(codes[rows, which]))
            return errors + penalties[rows, which]

        costs = shortlist.errors(x, codes) + penalties
        costs = refined_costs(costs, shortlist.margin, exact_costs)
        return codes, costs.double()

    def priced(self, codes: Tensor, costs: Tensor) -> Tensor:
        """Costs of candidate IDs with the prices of the IDs added."""
        if len(self.price_keys):
            return costs + look_up(self.price_list(), id_keys(codes))
        return costs

    def assign(self, x: Tensor, prepared: PreparedBeamSearch | None = None) -> Tensor:
        """Assign an ID to each standardised row: the candidate of lowest cost.

        If the ID of a candidate has a price, the price is added to its cost.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
        prepared : PreparedBeamSearch, optional
            Result of `prepare_assignment`, to prepare once for many batches.

        Returns
        -------
        Tensor of shape (n, n_layers), int64
        """
        prepared = prepared or self.prepare_assignment()
        if prepared.n_beams == 1:
            return prepared.best_codes(self.encode(x))
        codes, costs = self.assignment_costs(x, prepared)
        best = self.priced(codes, costs).argmin(1)
        best = best.view(-1, 1, 1).expand(-1, 1, codes.shape[2])
        return codes.gather(1, best).squeeze(1)

    def price_list(self) -> PriceList:
        """Prices that `assign` adds to the errors of IDs."""
        return PriceList(self.price_keys, self.prices)

    def set_price_list(self, price_list: PriceList) -> None:
        """Set the prices that `assign` adds to the errors of IDs."""
        self.price_keys, self.prices = price_list

    def set_shortlist(self, narrow: ShortlistDecoder) -> None:
        """Set the narrow decoder with which `assign` shortlists candidates."""
        for name, tensor in zip(SHORTLIST_BUFFERS, narrow, strict=True):
            setattr(self, name, tensor)

    def can_shortlist(self) -> bool:
        """Whether `assign` may estimate errors with a narrow decoder.

        It estimates squared errors of this class's reconstructions, so not for binary
        columns and not for subclasses that compute their own.
        """
        own = type(self)
        return (
            self.rerank is True
            and self.quantizer.n_beams > 1
            and self.n_cat_features == 0
            and own.candidates is IDAssignment.candidates
            and own.reconstruct is IDAssignment.reconstruct
            and own.decode is IDAssignment.decode
            and own.row_losses is IDAssignment.row_losses
        )
