"""The assignment of IDs to rows: candidates, their costs and their prices."""

from __future__ import annotations

from torch import Tensor

from sk_rqvae._defaults import CANDIDATES_PER_BEAM
from sk_rqvae._model.autoencoder import Autoencoder
from sk_rqvae._model.beam_search import PreparedBeamSearch
from sk_rqvae._model.id_prices import PriceList, id_keys, look_up


class IDAssignment(Autoencoder):
    """Search candidate IDs of rows and choose among them.

    `RQVAEModule` creates the parts and describes them.
    """

    rerank: bool
    latent_unit: Tensor
    price_keys: Tensor
    prices: Tensor

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
            Result of `prepare_search`, to prepare once for many batches.

        Returns
        -------
        Tensor of shape (n, n_layers), int64
        """
        prepared = prepared or self.prepare_search()
        if prepared.n_beams == 1:
            return prepared.best_codes(self.encode(x))
        codes, costs = self.candidates(x, prepared)
        best = self.priced(codes, costs).argmin(1)
        best = best.view(-1, 1, 1).expand(-1, 1, codes.shape[2])
        return codes.gather(1, best).squeeze(1)

    def price_list(self) -> PriceList:
        """Prices that `assign` adds to the errors of IDs."""
        return PriceList(self.price_keys, self.prices)

    def set_price_list(self, price_list: PriceList) -> None:
        """Set the prices that `assign` adds to the errors of IDs."""
        self.price_keys, self.prices = price_list
