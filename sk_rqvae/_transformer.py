"""The estimator: an embedding matrix in, semantic IDs out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from os import PathLike
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from sk_rqvae._checks.codes import IntArray, check_codes
from sk_rqvae._checks.rows import check_binary_columns, check_finite
from sk_rqvae._inference.blocks import map_rows
from sk_rqvae._inference.dask import (
    gather,
    is_dask,
    lazy_inverse_transform,
    lazy_transform,
)
from sk_rqvae._inference.explained_variance import explained_by_depth
from sk_rqvae._inference.report import SemanticIDReport, summarise
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._persistence.assemble import adopt
from sk_rqvae._persistence.checkpoints import load_checkpoint
from sk_rqvae._persistence.hub_upload import push_to_hub
from sk_rqvae._persistence.onnx import write_onnx
from sk_rqvae._persistence.pretrained import from_pretrained, save_pretrained
from sk_rqvae._progress import FitProgress, ProgressCallback
from sk_rqvae._sklearn.callback_compat import (
    CallbackSupportMixin,
    fit_task,
    with_callbacks,
)
from sk_rqvae._sklearn.doc_link import DocLink
from sk_rqvae._sklearn.progress_bars import FitBars, progress_bar
from sk_rqvae._training.fit import train
from sk_rqvae._training.out_of_memory import ENCODING, TRAINING, say_what_to_lower
from sk_rqvae._training.seeds import draw_seed
from sk_rqvae._training.settings import Settings, check_settings

_WIDEST_FLOAT = 8


class RQVAETransformer(
    DocLink,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Turn embeddings into semantic IDs with a residual-quantised autoencoder.

    Every row becomes a short tuple of integer codes, coarse to fine: rows that share a
    prefix are alike. `inverse_transform` reconstructs rows from codes or prefixes.

    Parameters
    ----------
    n_layers : int, default=3
        Length of an ID: codebooks in the residual stack.
    codebook_size : int or sequence of int, default=256
        Codes a codebook has, for all layers or one each.
    embed_dim : int, default=None
        Width of the latents that are quantised. None is the width of `X`, up to 1024,
        less the principal components of so little variance that codes could only learn
        by heart what they are in the rows of `X` (see Notes). Narrower is faster and
        reconstructs less; the papers use 32.
    hidden_dims : sequence of int, default=(1024,)
        Widths of the encoder's hidden layers. The papers use (512, 256, 128).
    decoder_hidden_dims : sequence of int, default=None
        Widths of the decoder's hidden layers. None is `hidden_dims` in reverse, beside
        a linear path a single one eight times as wide and several each three times:
        rows that were not fitted gain more from the decoder's width than from the
        encoder's.
    activation : {"elu", "gelu", "leaky_relu", "relu", "silu", "tanh"}, default="relu"
        Non-linearity between layers.
    dropout : float, default=0
        Share of the hidden units silenced in training, in [0, 1).
    linear_path : bool, default=True
        Put linear maps beside the perceptrons of encoder and decoder. They start as
        principal components and the perceptrons' last layers at zero, so that the
        untrained model is residual k-means, and training improves on it. False gives
        the papers' plain autoencoder.
    codebook_mode : {"gumbel_softmax", "ste", "rotation_trick", "sinkhorn"}, \
QuantizeForwardMode or sequence of them, default="ste"
        How gradients pass the choice of codes, for all layers or one each.
    commitment_weight : float, default=0.25
        Weight of the loss that draws latents to their codes. It counts thrice for
        straight-through layers, whose gradient pushes latents away the hardest; layers
        with the rotation trick draw the direction only, one and a half times as hard.
    codebook_kmeans_init : bool, default=True
        Start codebooks from k-means on residuals, otherwise from the residuals of
        random rows, shortened.
    codebook_normalize : bool, default=False
        Keep latents and codes on the unit sphere. Each layer has one learned gain.
    codebook_sim_vq : bool, default=False
        Freeze each codebook and learn one linear map behind it (SimVQ).
    n_beams : int, default=5
        Prefixes kept a row while codes are searched, in training and, without
        `rerank`, by `transform`; 1 is greedy.
    rerank : bool, default=True
        Let `transform` decode all beams of a row, of which it then keeps thrice
        `n_beams` unless that is 1, and take the one that reconstructs the row best,
        instead of the one nearest to its latent.
    separate_ids : bool or "auto", default="auto"
        After training, put prices on IDs that several rows of `X` share, so that all
        but one of them take their next best beam. `transform` stays a function of each
        row alone: the prices are part of the model. Exact duplicates keep one ID.
        Needs more than one beam, and at most five million rows. "auto" puts no prices
        where IDs are so scarce that they would raise the error of latents of `X` by
        more than a hundredth.
    prefix_weight : float, default=0.14
        Keeps IDs coarse to fine: the weight of the loss of reconstructions from
        prefixes, and of the error of each prefix where beams are compared (in training
        twenty times that), times the square of the starting codebooks' error of all
        codes over that of the prefix.
    noise : float, default=0.88
        Noise added to the encoder's input in training, in residuals of the starting
        codebooks, whose covariance it has (random codebooks or no linear path: the same
        power, alike in every direction). It is multiplied by the factor by which
        residuals of unseen rows can be expected to exceed them,
        ``exp(n_layers * codebook_size / n_samples)`` and at most the root of e, and
        where the codebooks leave a share ``u`` of the variance below a half, by
        ``(2 * u) ** 0.5``, or above 0.6, by ``(u / 0.6) ** 2``, at most 1.6.
    n_cat_features : int, default=0
        The last columns of `X` that are binary. They are reconstructed under binary
        cross-entropy, and `inverse_transform` returns their probabilities.
    restart_dead_codes : bool, default=True
        After every epoch, move codes to residuals of random rows that none of the last
        16 rows for each code of their layer chose. `fit` moves no more than leave each
        code in use three rows, as more would learn single rows by heart.
    init_sample_size : int, default=32768
        Rows, drawn at random, from which principal components and codebooks start.
    max_epochs : int, default=None
        Passes over the rows in `fit`. None makes at least 860 steps of the optimizer,
        in no fewer than 10 and no more than 150 epochs. Where the starting codebooks
        leave less than a ten-thousandth of the variance, as with hardly more rows than
        codes, it makes one that changes nothing.
    batch_size : int, default=256
        Rows a step of the optimizer.
    lr : float, default=2e-3
        Highest learning rate of AdamW. It is lowered in proportion to `embed_dim`, or
        the width of `X` if that is None, and to the power 3/4 of the share of the
        latents' variance that the starting codebooks leave, where these come to less
        than with 384 columns of text embeddings and 3 x 256 codes: an equal step of all
        weights moves sums of more of them further, and there is less to gain. AdamW's
        betas are 0.9 and 0.99.
    weight_decay : float, default=1.0
        Weight decay of AdamW, on the weights of the perceptrons, which are corrections
        to the linear path; without it, recipes use 1e-4 to 1e-2.
    lr_schedule : {"cosine", "step", "constant"}, default="cosine"
        Course of the learning rate after the warm-up.
    warmup_epochs : int, default=2
        Epochs in which the learning rate rises.
    lr_step_size : int, default=10
        Epochs between reductions, for "step".
    lr_gamma : float, default=0.5
        Factor of a reduction, for "step".
    early_stopping : bool, default=False
        Hold out a part of the rows, stop when their reconstruction no longer improves,
        and restore the weights that did best.
    validation_fraction : float, default=0.1
        The part held out, in (0, 1).
    n_iter_no_change : int, default=10
        Epochs without improvement before stopping.
    warm_start : bool, default=False
        Let `fit` go on from the fitted model, if there is one.
    module : type, default=RQVAEModule
        The model's class; subclass `RQVAEModule` to change the loss.
    callbacks : list, default=None
        skorch callbacks.
    resident_mb : float or "auto", default="auto"
        Largest training matrix, in MiB of float32, that is copied to the device. A
        larger one is streamed in shuffled blocks. "auto" is 512 on a CPU, half of the
        free memory on a CUDA device. Of a Dask collection, also how much is brought to
        train on.
    mixed_precision : {"auto", "bf16", "no"}, default="auto"
        Multiply matrices of encoder and decoder in bfloat16 while training. Codes,
        distances and losses are computed in float32 all the same, and `transform` and
        `inverse_transform` are in float32 throughout. "auto" does so on devices that
        have the instructions: CUDA from compute capability 8.0, CPUs with AVX512-BF16
        or AMX.
    device : str or torch.device, default="auto"
        "auto" is CUDA where there is a device, else the CPU.
    random_state : int, RandomState instance or None, default=None
        Makes `fit` repeatable. None draws fresh entropy and leaves NumPy's global
        state alone.
    verbose : int, default=0
        Print a table with a row an epoch. Where standard error is a terminal, also draw
        a bar on it while something takes longer than two seconds.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net. Its `history` has a row an epoch.
    codebooks_ : list of ndarray of shape (codebook_size, embed_dim)
        The codes' vectors, a layer each.
    codebook_gains_ : ndarray of shape (n_layers,)
        What the vectors of each layer are multiplied with before they are summed; 1
        unless `codebook_normalize`.
    n_features_in_ : int
        Columns of `X`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where `X` has names that are all strings.
    n_iter_ : int
        Epochs run.

    See Also
    --------
    sklearn.cluster.KMeans : One layer, without an autoencoder.

    Notes
    -----
    With ``embed_dim=None`` and ``linear_path=True``, unless ``codebook_normalize``,
    the latents leave out the principal components of least variance up to a share of
    ``min(g - 1, 1 / 2) * u ** 1.5`` of all variance, but none that ideal codes of as
    many bits would tell of. There ``g = exp(2 * n_layers * codebook_size / n_samples)``
    is how many times larger squared residuals of unseen rows are expected to be than
    those of fitted ones, and ``g * u`` is the share that ideal codes would leave of
    Gaussian rows, by reverse water-filling [1]_. All are kept where these components
    are not Gaussian: where `codebook_size` clusters tell of them, on rows held out of
    the clustering, over a hundredth of all variance that they would not of Gaussian
    ones.

    References
    ----------
    .. [1] Cover and Thomas (2006), "Elements of Information Theory", theorem 10.3.3.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_rqvae import RQVAETransformer
    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> rq = RQVAETransformer(n_layers=2, codebook_size=16, random_state=0).fit(X)
    >>> codes = rq.transform(X)
    >>> codes.shape, codes.dtype
    ((200, 2), dtype('int64'))
    >>> rq.inverse_transform(codes).shape
    (200, 8)
    """

    def __init__(
        self,
        *,
        n_layers: int = 3,
        codebook_size: int | Sequence[int] = 256,
        embed_dim: int | None = None,
        hidden_dims: Sequence[int] = (1024,),
        decoder_hidden_dims: Sequence[int] | None = None,
        activation: str = "relu",
        dropout: float = 0,
        linear_path: bool = True,
        codebook_mode: Any = "ste",
        commitment_weight: float = 0.25,
        codebook_kmeans_init: bool = True,
        codebook_normalize: bool = False,
        codebook_sim_vq: bool = False,
        n_beams: int = 5,
        rerank: bool = True,
        separate_ids: bool | str = "auto",
        prefix_weight: float = 0.14,
        noise: float = 0.88,
        n_cat_features: int = 0,
        restart_dead_codes: bool = True,
        init_sample_size: int = 32768,
        max_epochs: int | None = None,
        batch_size: int = 256,
        lr: float = 2e-3,
        weight_decay: float = 1.0,
        lr_schedule: str = "cosine",
        warmup_epochs: int = 2,
        lr_step_size: int = 10,
        lr_gamma: float = 0.5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        module: type[RQVAEModule] = RQVAEModule,
        callbacks: list[Any] | None = None,
        resident_mb: float | str = "auto",
        mixed_precision: str = "auto",
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_layers = n_layers
        self.codebook_size = codebook_size
        self.embed_dim = embed_dim
        self.hidden_dims = hidden_dims
        self.decoder_hidden_dims = decoder_hidden_dims
        self.activation = activation
        self.dropout = dropout
        self.linear_path = linear_path
        self.codebook_mode = codebook_mode
        self.commitment_weight = commitment_weight
        self.codebook_kmeans_init = codebook_kmeans_init
        self.codebook_normalize = codebook_normalize
        self.codebook_sim_vq = codebook_sim_vq
        self.n_beams = n_beams
        self.rerank = rerank
        self.separate_ids = separate_ids
        self.prefix_weight = prefix_weight
        self.noise = noise
        self.n_cat_features = n_cat_features
        self.restart_dead_codes = restart_dead_codes
        self.init_sample_size = init_sample_size
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.warmup_epochs = warmup_epochs
        self.lr_step_size = lr_step_size
        self.lr_gamma = lr_gamma
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.module = module
        self.callbacks = callbacks
        self.resident_mb = resident_mb
        self.mixed_precision = mixed_precision
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    def fit(self, X: ArrayLike, y: Any = None) -> RQVAETransformer:
        """Train on the rows of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Also a Dask array or DataFrame. Its rows are brought into memory a few
            blocks at a time; where they would take more than `resident_mb`, blocks of
            them drawn at random, which the log says.
        y : None
            Ignored.

        Returns
        -------
        self : RQVAETransformer

        Raises
        ------
        TypeError, ValueError
            If a parameter or `X` is not as documented.
        DivergenceError
            If the loss is no longer finite.

        Warns
        -----
        CollapseWarning
            If codes of a layer are hardly used.
        """
        settings = check_settings(self)
        X = self._gathered(X, settings)
        data = {"X": X, "y": y}
        with fit_task(self, data, adopt, FitBars(self.verbose > 0)) as progress:
            self._fit(X, settings, progress, continues=self.warm_start)
        return self

    def partial_fit(self, X: ArrayLike, y: Any = None) -> RQVAETransformer:
        """Train for one pass over the rows of `X`, at a constant learning rate.

        The first call on an unfitted transformer also sets it up from `X`: location and
        scale, principal components and codebooks. To go on for several epochs on a
        schedule, use `fit` with ``warm_start=True``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        self : RQVAETransformer

        Raises
        ------
        TypeError, ValueError
            If a parameter or `X` is not as documented.
        DivergenceError
            If the loss is no longer finite.
        """
        settings = check_settings(self)
        X = self._gathered(X, settings)
        progress = FitBars(self.verbose > 0)
        self._fit(X, settings, progress, continues=True, is_partial=True)
        return self

    def transform(self, X: ArrayLike) -> IntArray:
        """Semantic IDs of the rows of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Also a Dask array or DataFrame.

        Returns
        -------
        ndarray of shape (n_samples, n_layers), dtype int64
            A row's codes depend on nothing but that row. For a Dask collection one of
            its kind, not yet computed.

        Raises
        ------
        ValueError
            If `X` has other columns than in `fit`, or values that are not finite.
        """
        check_is_fitted(self)
        if is_dask(X):
            return lazy_transform(self, X)
        return self._assign(self._check_rows(X, reset=False))

    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Reconstruct rows from their codes, or coarsely from a prefix of them.

        Parameters
        ----------
        X : array-like of shape (n_samples, k), k <= n_layers
            Codes, as `transform` gives them. Also a Dask array or DataFrame.

        Returns
        -------
        ndarray of shape (n_samples, n_features), dtype float64
            In the units of the training data; probabilities for binary columns. For a
            Dask collection one of its kind, not yet computed.

        Raises
        ------
        TypeError
            If codes are not numbers.
        ValueError
            If there are more columns than layers, or a code is fractional, negative or
            not in its codebook.
        """
        check_is_fitted(self)
        if is_dask(X):
            return lazy_inverse_transform(self, X)
        return self._reconstruct(self._check_codes(X))

    def next_code_distances(self, X: ArrayLike, prefix: ArrayLike) -> NDArray[Any]:
        """How far each row's latent would be from a prefix and every code after it.

        This is what `SemanticIDIndex` asks for to find the next nearest free ID.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers, without regard to column names.
        prefix : array-like of shape (n_samples, depth), 0 <= depth < n_layers
            Codes that are fixed already.

        Returns
        -------
        ndarray of shape (n_samples, codebook_size), dtype float64
            Squared distances in latent space, for the codes of layer `depth`.

        Raises
        ------
        ValueError
            If the shapes do not fit the model or each other, or a code is not in its
            codebook.
        """
        check_is_fitted(self)
        rows = check_array(X, dtype=np.float64)
        fixed = np.asarray(prefix)
        sizes = self._sizes()
        depth = fixed.shape[1] if fixed.ndim == 2 else -1
        if not 0 <= depth < len(sizes) or len(fixed) != len(rows):
            raise ValueError(
                f"prefix must have shape ({len(rows)}, depth) with depth below "
                f"n_layers={len(sizes)}. Got {fixed.shape}."
            )
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X must have {self.n_features_in_} columns. Got {rows.shape[1]}."
            )
        if depth:
            fixed = check_codes(fixed, sizes[:depth], name="prefix")
        module = self.net_.module_
        width = rows.shape[1]

        def distances(block: torch.Tensor) -> torch.Tensor:
            x = module.standardize(block[:, :width])
            return module.next_code_distances(x, block[:, width:].long())

        return map_rows(
            distances,
            np.concatenate([rows, fixed], axis=1),
            np.empty((len(rows), sizes[depth])),
            module.input_mean.device,
        )

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Explained variance of the reconstruction.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        float
            ``1 - SSE / SST``, at most 1. SST is the sum of squared deviations from the
            column means of `X`. Where that is zero, 1 if the reconstruction is exact,
            else 0.
        """
        check_is_fitted(self)
        rows = self._check_rows(X, reset=False)
        return float(
            self._explained(rows, self._assign(rows), [self._n_features_out])[0]
        )

    def report(self, X: ArrayLike) -> SemanticIDReport:
        """How well the IDs of some rows describe them, level by level.

        In a Pipeline, give it what the steps before pass on:
        ``pipe[-1].report(pipe[:-1].transform(X))``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        SemanticIDReport
            Explained variance, usage, perplexity and different prefixes of each level.
            It prints as a table, in a notebook too.

        Raises
        ------
        ValueError
            If `X` has other columns than in `fit`, or values that are not finite.
        """
        check_is_fitted(self)
        rows = self._check_rows(X, reset=False)
        codes = self._assign(rows)
        sizes = self._sizes()
        depths = range(1, len(sizes) + 1)
        return summarise(codes, sizes, self._explained(rows, codes, depths))

    def save_pretrained(
        self,
        folder: str | PathLike[str],
        *,
        report: SemanticIDReport | None = None,
    ) -> None:
        """Write the fitted model to a folder, without pickle.

        The folder gets ``config.json`` (parameters, versions, history and a checksum),
        ``model-<checksum>.safetensors`` (weights and codebooks) and a model card,
        ``README.md``, unless it has a ``README.md`` that somebody else wrote. A model
        that the folder already has is replaced in one step: a crash leaves the old one.
        Processes that save to the same folder take turns by a lock file.

        Parameters
        ----------
        folder : str or path-like
            It is created if it does not exist.
        report : SemanticIDReport, default=None
            What `report` returned, to be shown on the model card.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the transformer is not fitted.
        TypeError, ValueError
            If a parameter cannot be saved or is not as documented, or if the folder
            has the ``config.json`` of another program.

        Warns
        -----
        UserWarning
            If the transformer has callbacks, which are not saved.

        See Also
        --------
        from_pretrained : Read it back.
        """
        check_is_fitted(self)
        save_pretrained(self, folder, report)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        report: SemanticIDReport | None = None,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str = "Upload a model of sk_rqvae",
        token: str | None = None,
    ) -> str:
        """Upload the fitted model to the Hugging Face Hub, in one commit.

        Needs the extra ``hub``. `from_pretrained` loads it by the name of the
        repository, which gets the files that `save_pretrained` writes. Files of others
        in it are kept.

        Parameters
        ----------
        repo_id : str
            ``"user/name"``. The repository is created if it does not exist.
        report : SemanticIDReport, default=None
            What `report` returned, to be shown on the model card.
        private : bool, default=None
            Visibility of a new repository. None is the default of the account.
        revision : str, default=None
            Branch to commit to. None is the main branch.
        commit_message : str, default="Upload a model of sk_rqvae"
        token : str, default=None
            Access token. None is the one that ``hf auth login`` stored.

        Returns
        -------
        str
            Address of the commit.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the transformer is not fitted.
        ImportError
            If the extra ``hub`` is not installed.
        ValueError
            As in `save_pretrained`, for the files of the repository.
        huggingface_hub.errors.HfHubHTTPError
            If the Hub refuses, or another commit was made meanwhile.
        """
        check_is_fitted(self)
        return push_to_hub(
            self,
            repo_id,
            report=report,
            private=private,
            revision=revision,
            commit_message=commit_message,
            token=token,
        )

    @classmethod
    def from_pretrained(
        cls,
        folder: str | PathLike[str],
        *,
        module: type[RQVAEModule] | None = None,
        device: str | torch.device | None = None,
        revision: str | None = None,
    ) -> Self:
        """Read a model that `save_pretrained` or `push_to_hub` wrote.

        It has the same parameters, history and codebooks, and gives the same IDs and
        reconstructions bit for bit. The optimizer's state is not saved. Loading runs
        no code from the folder: one from a stranger can at worst be refused.

        Parameters
        ----------
        folder : str or path-like
            A folder or, if no such folder exists, the ``"user/name"`` of a model on the
            Hugging Face Hub. The latter needs the extra ``hub``.
        module : type, default=None
            The class of the model, where that was a subclass of `RQVAEModule`. The
            files never choose what is imported.
        device : str or torch.device, default=None
            Where to put the model, and the parameter `device` of what is returned.
            None is the saved one.
        revision : str, default=None
            Branch, tag or commit on the Hub. None is the main branch.

        Returns
        -------
        RQVAETransformer

        Raises
        ------
        FileNotFoundError
            If a file is missing.
        ValueError
            If a file is truncated, was changed, belongs to another model, is of another
            version of the format, or holds an unknown parameter; or if the model's
            class must be passed. The message names the file and the reason.

        Warns
        -----
        UserWarning
            If the model was saved with a CUDA device and this machine has none; it is
            then on the CPU.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> import numpy as np
        >>> from sk_rqvae import RQVAETransformer
        >>> X = np.random.default_rng(0).normal(size=(200, 8))
        >>> rq = RQVAETransformer(n_layers=2, codebook_size=16, random_state=0).fit(X)
        >>> with TemporaryDirectory() as folder:
        ...     rq.save_pretrained(folder)
        ...     reloaded = RQVAETransformer.from_pretrained(folder)
        >>> bool((reloaded.transform(X) == rq.transform(X)).all())
        True
        """
        return from_pretrained(cls, folder, module, device, revision)

    def to_onnx(self, path: str | PathLike[str], *, decoder: bool = False) -> None:
        """Write the model as one ONNX file, to serve it without Python.

        The graph maps ``rows``, float32 of shape ``(n, n_features)``, to ``codes``,
        int64 of shape ``(n, n_layers)``, for any ``n``. It standardises, searches with
        `n_beams` and re-ranks as `transform` does. Since other kernels round
        differently, rows that lie within rounding of two codes can get the other one.

        Parameters
        ----------
        path : str or path-like
            Replaced in one step.
        decoder : bool, default=False
            Write the decoder instead: ``codes`` to ``rows``, as `inverse_transform`
            does for whole IDs. The graph does not check codes as that does.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the transformer is not fitted.
        ImportError
            If the extra ``onnx`` is not installed.
        """
        check_is_fitted(self)
        write_onnx(self.net_.module_, path, decoder=decoder)

    @classmethod
    def load_from_checkpoint(
        cls,
        path: str | PathLike[str],
        activation: str = "relu",
        **parameters: Any,
    ) -> Self:
        """Read the weights of a training checkpoint, another project's or our own.

        Two layouts are known. RQ-VAE-Recommender [1]_ and genrec [2]_ write
        ``encoder.mlp.{j}.weight``, ``decoder.mlp.{j}.weight`` (no biases),
        ``layers.{l}.embedding.weight`` and, for SimVQ, ``layers.{l}.out_proj.0.weight``
        in a state dict, bare or under ``"model"``. Such a model gives the IDs that it
        gave there: greedy residual quantisation of rows that are not standardised. Our
        own layout is that of the module's state dict, which ``skorch.Checkpoint`` among
        the callbacks and ``net_.save_params`` write.

        Sizes are read from the shapes. To train on, pass ``warm_start=True`` and call
        `fit`.

        Parameters
        ----------
        path : str or path-like
            What ``torch.save`` wrote, or a ``.safetensors`` file. It is read with
            ``weights_only=True``: no code in it is run.
        activation : str, default="relu"
            The model's non-linearity. A checkpoint does not tell it, and another than
            that of the training gives other IDs. RQ-VAE-Recommender has "relu" since
            March 2026 and had "silu" before, as genrec has.
        **parameters
            Further parameters of the transformer that the shapes do not tell, such as
            `n_cat_features`, or `codebook_normalize` for the other projects' models. In
            these, `n_beams` is 1 and `rerank` is False unless given.

        Returns
        -------
        RQVAETransformer
            Fitted. Its `history` is empty.

        Raises
        ------
        ValueError
            If the file is damaged, has another layout, or needs more than
            ``weights_only=True``; the message then says how to write it anew.
        TypeError
            If a parameter is unknown or is one that the shapes tell.

        References
        ----------
        .. [1] https://github.com/EdoardoBotta/RQ-VAE-Recommender
        .. [2] https://github.com/phonism/genrec
        """
        return load_checkpoint(cls, path, {"activation": activation, **parameters})

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")

    @property
    def _n_features_out(self) -> int:
        return len(self.codebooks_)

    def _gathered(self, X: Any, settings: Settings) -> Any:
        """`X`, brought into memory if it is a Dask collection."""
        if not is_dask(X):
            return X
        seed = draw_seed(self.random_state)
        return gather(self, X, max_bytes=settings.resident_bytes, seed=seed)

    def _check_rows(self, X: ArrayLike, *, reset: bool) -> NDArray[Any]:
        if is_dask(X):
            raise TypeError(
                "A Dask collection can be fitted and transformed; all else needs rows "
                "in memory. Pass some that are computed."
            )
        rows = validate_data(
            self, X, reset=reset, dtype="numeric", ensure_all_finite=False
        )
        check_finite(rows, estimator_name=type(self).__name__)
        n_cat_features = self.n_cat_features if reset else self._n_cat_features()
        if rows.dtype.kind == "f" and rows.dtype.itemsize > _WIDEST_FLOAT:
            rows = rows.astype(np.float64)
        n_features = rows.shape[1]
        if n_cat_features > n_features:
            raise ValueError(
                f"n_cat_features must be at most the number of columns, {n_features}. "
                f"Got {n_cat_features}."
            )
        if n_cat_features:
            check_binary_columns(rows, n_cat_features)
        return rows

    def _check_codes(self, X: ArrayLike) -> IntArray:
        sizes = self._sizes()
        codes = np.asarray(X)
        if codes.ndim == 2 and codes.shape[1] > len(sizes):
            raise ValueError(
                f"X must have at most n_layers={len(sizes)} columns of codes. "
                f"Got {codes.shape[1]}."
            )
        depth = codes.shape[1] if codes.ndim == 2 else len(sizes)
        return check_codes(codes, sizes[:depth], name="X")

    def _bar(self, doing: str, n_rows: int) -> AbstractContextManager[ProgressCallback]:
        return progress_bar(doing, n_rows, shown=self.verbose > 0)

    def _assign(self, rows: NDArray[Any]) -> IntArray:
        module = self.net_.module_
        prepared = module.prepare_search()
        out = np.empty((len(rows), len(self._sizes())), dtype=np.int64)
        with (
            say_what_to_lower(self, ENCODING),
            self._bar("transforming", len(rows)) as on_progress,
        ):
            return map_rows(
                lambda block: module.assign(module.standardize(block), prepared),
                rows,
                out,
                module.input_mean.device,
                on_progress,
            )

    def _reconstruct(self, codes: IntArray) -> NDArray[np.float64]:
        module = self.net_.module_
        out = np.empty((len(codes), self.n_features_in_))
        with (
            say_what_to_lower(self, ENCODING),
            self._bar("reconstructing", len(codes)) as on_progress,
        ):
            return map_rows(
                lambda block: module.restore(module.reconstruct(block)),
                codes,
                out,
                module.input_mean.device,
                on_progress,
            )

    def _explained(
        self, rows: NDArray[Any], codes: IntArray, depths: Sequence[int]
    ) -> NDArray[np.float64]:
        unit = float(self.net_.module_.input_scale.max())
        with self._bar("scoring", len(rows) * len(depths)) as on_progress:

            def reconstruct(part: IntArray) -> NDArray[np.float64]:
                found = self._reconstruct(part)
                on_progress(len(part))
                return found

            return explained_by_depth(rows, codes, reconstruct, depths, unit)

    def _n_cat_features(self) -> int:
        return self.net_.module_.n_cat_features

    def _sizes(self) -> list[int]:
        return [level.size for level in self.net_.module_.quantizer.levels]

    def _fit(
        self,
        X: ArrayLike,
        settings: Settings,
        progress: FitProgress,
        *,
        continues: bool,
        is_partial: bool = False,
    ) -> None:
        with _all_or_nothing(self):
            fitted = getattr(self, "net_", None) if continues else None
            rows = self._check_rows(X, reset=fitted is None)
            with say_what_to_lower(self, TRAINING):
                net = train(
                    self,
                    rows,
                    settings,
                    progress,
                    fitted=fitted,
                    is_partial=is_partial,
                )
                adopt(self, net)


@contextmanager
def _all_or_nothing(estimator: BaseEstimator) -> Iterator[None]:
    """Give back every attribute its value unless the block ends without an error."""
    before = vars(estimator).copy()
    finished = False
    try:
        yield
        finished = True
    finally:
        if not finished:
            vars(estimator).clear()
            vars(estimator).update(before)
