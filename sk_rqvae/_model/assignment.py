"""The assignment of IDs to rows: candidates, their costs and their prices."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from sk_rqvae._defaults import CANDIDATES_PER_BEAM
from sk_rqvae._model.autoencoder import Autoencoder
from sk_rqvae._model.beam_search import Beams, PreparedBeamSearch, SearchMemory
from sk_rqvae._model.id_decoder import TabulatedDecoder
from sk_rqvae._model.id_prices import PriceList, id_keys, look_up


class PreparedAssignment(NamedTuple):
    """What `IDAssignment` computes once for many batches.

    It is valid as long as the weights of the model do not change.

    Attributes
    ----------
    search : PreparedBeamSearch
    decodes : bool
        Whether the cost of a candidate is the loss of its reconstruction.
    decoder : TabulatedDecoder or None
        Computes these losses. If None, the model decodes each candidate.
    """

    search: PreparedBeamSearch
    decodes: bool
    decoder: TabulatedDecoder | None


class IDAssignment(Autoencoder):
    """Search candidate IDs of rows and choose among them.

    `RQVAEModule` creates the parts and describes them.
    """

    rerank: bool
    price_keys: Tensor
    prices: Tensor
    code_names: Tensor

    def prepare(
        self,
        min_candidates: int = 1,
        *,
        keep_tables: bool = False,
        decode_single: bool = False,
    ) -> PreparedAssignment:
        """Prepare `candidates` and `assign`, to be used for many batches.

        With `rerank`, there are more beams than `n_beams`, because the best
        reconstruction often belongs to one that is not nearest to the latent.

        Parameters
        ----------
        min_candidates : int, default=1
            Search at least as many beams.
        keep_tables : bool, default=False
            Keep the decoder's tables for the next call that asks for them.
        decode_single : bool, default=False
            With `rerank`, decode a row's candidate even if it is the only one. Which ID
            is chosen does not depend on it.

        Returns
        -------
        PreparedAssignment
        """
        n_beams = self.quantizer.n_beams
        if self.rerank and n_beams > 1:
            n_beams *= CANDIDATES_PER_BEAM
        n_beams = max(n_beams, min_candidates)
        search = self.quantizer.prepare_search(n_beams)
        decodes = self.rerank and (n_beams > 1 or decode_single)
        decoder = self.tabulated_decoder(keep=keep_tables) if decodes else None
        return PreparedAssignment(search, decodes, decoder)

    def find(
        self,
        x: Tensor,
        prepared: PreparedAssignment,
        memory: SearchMemory | None = None,
    ) -> Beams:
        """Candidate IDs of standardised rows, by beam search."""
        return prepared.search.search(self.encode(x), memory)

    def costs(self, x: Tensor, found: Beams, prepared: PreparedAssignment) -> Tensor:
        """Costs of the candidates of standardised rows, without prices.

        The cost of a candidate is its squared distance to the latent, or the loss of
        its reconstruction, as prepared (see `row_losses`).

        Parameters
        ----------
        x : Tensor of shape (n, width)
        found : Beams
        prepared : PreparedAssignment

        Returns
        -------
        Tensor of shape (n, n_candidates), float64
        """
        codes, errors = found
        if prepared.decodes:
            errors = self._decoded_losses(x, codes, prepared.decoder)
        return errors.double()

    def _decoded_losses(
        self, x: Tensor, codes: Tensor, decoder: TabulatedDecoder | None
    ) -> Tensor:
        if decoder is not None:
            return decoder.losses(x, codes)
        decoded = self.reconstruct(codes.flatten(0, 1))
        return self.row_losses(x.unsqueeze(1), decoded.unflatten(0, codes.shape[:2]))

    def candidates(
        self, x: Tensor, prepared: PreparedAssignment | None = None
    ) -> tuple[Tensor, Tensor]:
        """Candidate IDs of standardised rows, and their `costs`.

        Parameters
        ----------
        x : Tensor of shape (n, width)
        prepared : PreparedAssignment, optional
            Result of `prepare`, to prepare once for many batches.

        Returns
        -------
        codes : Tensor of shape (n, n_candidates, n_layers), int64
        costs : Tensor of shape (n, n_candidates), float64
        """
        prepared = prepared or self.prepare()
        found = self.find(x, prepared)
        return found.codes, self.costs(x, found, prepared)

    def priced(self, codes: Tensor, costs: Tensor) -> Tensor:
        """Costs of candidate IDs with the prices of the IDs added."""
        if len(self.price_keys):
            return costs + look_up(self.price_list(), id_keys(codes))
        return costs

    def cheapest(self, codes: Tensor, costs: Tensor) -> Tensor:
        """The candidate of lowest cost, prices included, ``(n, n_layers)``, int64."""
        best = self.priced(codes, costs).argmin(1)
        best = best.view(-1, 1, 1).expand(-1, 1, codes.shape[2])
        return codes.gather(1, best).squeeze(1)

    def assign(self, x: Tensor, prepared: PreparedAssignment | None = None) -> Tensor:
        """Assign the cheapest candidate to each standardised row.

        Parameters
        ----------
        x : Tensor of shape (n, width)
        prepared : PreparedAssignment, optional
            Result of `prepare`, to prepare once for many batches.

        Returns
        -------
        Tensor of shape (n, n_layers), int64
        """
        return self.cheapest(*self.candidates(x, prepared))

    def price_list(self) -> PriceList:
        """Prices that `assign` adds to the errors of IDs."""
        return PriceList(self.price_keys, self.prices)

    def set_price_list(self, price_list: PriceList) -> None:
        """Set the prices that `assign` adds to the errors of IDs."""
        self.price_keys, self.prices = price_list
