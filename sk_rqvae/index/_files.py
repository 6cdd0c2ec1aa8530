"""Saving, loading and exchanging a fitted index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sk_rqvae.index._base import IndexBase
from sk_rqvae.index._contents import Contents
from sk_rqvae.index._exchange import (
    PathLike,
    as_integers,
    read_json,
    read_table,
    write_json,
    write_table,
)
from sk_rqvae.index._growing import GrowingArray
from sk_rqvae.index._model import CodeModel
from sk_rqvae.index._moves import Moves
from sk_rqvae.index._storage import (
    packed_strings,
    read_file,
    small_unsigned,
    unpacked_strings,
    write_file,
)

Self = TypeVar("Self", bound="IndexFiles")


class IndexFiles(IndexBase):
    """The part of `SemanticIDIndex` that reads and writes files."""

    def save(self, path: PathLike) -> None:
        """Write the index to a file.

        The file holds a JSON header, raw arrays and a checksum; no pickle. It is
        written beside `path` and renamed, so a crash leaves what was there before.

        Parameters
        ----------
        path : str or path-like

        See Also
        --------
        load : Read it back.
        """
        contents = self._fitted()
        items = contents.items
        arrays: dict[str, NDArray[Any]] = {"ids": small_unsigned(contents.store.ids)}
        if items.kind == "int":
            arrays["item_numbers"] = items.values
        elif items.kind == "str":
            arrays |= packed_strings(items.values)
        for name, array in contents.moves._asdict().items():
            arrays[f"moved_{name}"] = array
        if contents.digests is not None:
            arrays["digests"] = contents.digests.values
        size = self.codebook_size
        header = {
            "policy": contents.policy,
            "codebook_size": None if size is None else np.asarray(size).tolist(),
            "sizes": contents.store.sizes,
            "fingerprint": contents.fingerprint,
            "items": items.kind,
        }
        write_file(path, header, arrays)

    @classmethod
    def load(cls: type[Self], path: PathLike) -> Self:
        """Read an index that `save` wrote.

        Loading runs no code from the file: one from a stranger can at worst be refused.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        SemanticIDIndex

        Raises
        ------
        ValueError
            If the file is not an index, was written by a newer version, is truncated or
            changed, or its contents do not fit together.
        """
        header, arrays = read_file(path)
        try:
            contents = _contents_of(header, arrays)
            index = cls(policy=header["policy"], codebook_size=header["codebook_size"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a valid index: {error}.") from error
        index._contents = contents
        return index

    def to_json(self, path: PathLike) -> None:
        """Write ``{item: ["<a_1>", "<b_2>", ...]}``.

        LC-Rec [1]_, LETTER [2]_ and MiniOneRec [3]_ read such files. Items that are
        integers become strings, as JSON has no other keys.

        Parameters
        ----------
        path : str or path-like
            Replaced in one step.

        References
        ----------
        .. [1] Zheng et al., "Adapting Large Language Models by Integrating
           Collaborative Semantics for Recommendation", ICDE 2024, arXiv 2311.09049.
        .. [2] Wang et al., "Learnable Item Tokenization for Generative
           Recommendation", CIKM 2024, arXiv 2405.07314.
        .. [3] Kong et al., "MiniOneRec: An Open-Source Framework for Scaling Generative
           Recommendation", 2025, arXiv 2510.24431.
        """
        contents = self._fitted()
        write_json(path, contents.store.ids, contents.items.values)

    @classmethod
    def from_json(
        cls: type[Self],
        path: PathLike,
        *,
        policy: str = "suffix",
        codebook_size: Any = None,
        item_type: type = str,
        model: CodeModel | None = None,
    ) -> Self:
        """Read ``{item: ["<a_1>", "<b_2>", ...]}``. IDs are kept as they are.

        Parameters
        ----------
        path : str or path-like
        policy : {"none", "suffix", "reassign"}, default="suffix"
            How items that are added will be treated. With ``"suffix"`` the last token
            of every item is the suffix.
        codebook_size : int or sequence of int, default=None
        item_type : {str, int}, default=str
            What the items are.
        model : fitted transformer, default=None
            The model of the codes; the index will carry its fingerprint.

        Returns
        -------
        SemanticIDIndex

        Raises
        ------
        ValueError
            If the file is not of this form, an item comes twice, or IDs do not fit the
            policy.
        """
        ids, items = read_json(path)
        return cls._of_ids(policy, codebook_size, ids, items, item_type, model, path)

    def to_table(self, path: PathLike) -> None:
        """Write a table with the column ``item_id`` and one column a level.

        The levels are ``level_1``, ``level_2`` and so on; that of the suffix is
        ``suffix``.

        Parameters
        ----------
        path : str or path-like
            Ends in ``.csv`` or ``.parquet``. Parquet needs pyarrow or polars. Replaced
            in one step.
        """
        contents = self._fitted()
        store = contents.store
        columns = [f"level_{level + 1}" for level in range(store.n_layers)]
        columns += ["suffix"] * store.numbered
        write_table(path, store.ids, contents.items.values, columns)

    @classmethod
    def from_table(
        cls: type[Self],
        path: PathLike,
        *,
        policy: str = "suffix",
        codebook_size: Any = None,
        item_type: type | None = None,
        model: CodeModel | None = None,
    ) -> Self:
        """Read a table of IDs, which are kept as they are.

        Parameters
        ----------
        path : str or path-like
            Ends in ``.csv`` or ``.parquet``. The first column holds the items, the
            others the levels in order, whatever their names.
        policy : {"none", "suffix", "reassign"}, default="suffix"
            How items that are added will be treated. With ``"suffix"`` the last column
            is the suffix.
        codebook_size : int or sequence of int, default=None
        item_type : {str, int}, default=None
            What the items are. None takes them as they are stored, which in a CSV file
            is as strings.
        model : fitted transformer, default=None
            The model of the codes; the index will carry its fingerprint.

        Returns
        -------
        SemanticIDIndex

        Raises
        ------
        ValueError
            If the file is not of this form, an item comes twice, or IDs do not fit the
            policy.
        """
        ids, items = read_table(path)
        return cls._of_ids(policy, codebook_size, ids, items, item_type, model, path)

    @classmethod
    def _of_ids(
        cls: type[Self],
        policy: str,
        codebook_size: Any,
        ids: Any,
        items: Any,
        item_type: type | None,
        model: CodeModel | None,
        path: PathLike,
    ) -> Self:
        if item_type not in (None, int, str):
            raise ValueError(f"item_type must be int or str. Got {item_type!r}.")
        if item_type is int:
            items = as_integers(items, path)
        elif item_type is str:
            items = list(map(str, items))
        index = cls(policy=policy, codebook_size=codebook_size)
        index._contents = Contents.of_ids(policy, codebook_size, ids, items, model)
        return index


def _contents_of(
    header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> Contents:
    items: Any = None
    if header["items"] == "int":
        items = arrays["item_numbers"]
    elif header["items"] == "str":
        items = unpacked_strings(arrays)
    contents = Contents.of_ids(header["policy"], header["sizes"], arrays["ids"], items)
    moves = Moves(*(arrays[f"moved_{name}"] for name in Moves._fields))
    digests = arrays.get("digests")
    _check_records(contents, moves, digests)
    return contents._replace(
        fingerprint=header["fingerprint"],
        moves=moves,
        digests=None if digests is None else GrowingArray(digests.copy()),
    )


def _check_records(
    contents: Contents, moves: Moves, digests: NDArray[Any] | None
) -> None:
    n_items, n_moved = len(contents.store), len(moves.rows)
    fit_together = (
        moves.rows.shape == moves.added_errors.shape
        and moves.codes.shape == (n_moved, contents.store.n_layers)
        and ((moves.rows >= 0) & (moves.rows < n_items)).all()
        and (digests is None or digests.shape == (n_items,))
    )
    if not fit_together:
        raise ValueError("its records of moves and duplicates do not fit its items")
