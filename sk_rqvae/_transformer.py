"""The estimator: an embedding matrix in, semantic IDs out."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from os import PathLike
from time import perf_counter
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

from sk_rqvae._checks.affinity import check_affinity
from sk_rqvae._checks.arrays_or_tensors import (
    check_binary_columns,
    check_codes,
    check_finite,
)
from sk_rqvae._checks.codes import check_code_maps, check_order_of_columns
from sk_rqvae._checks.containers import refuse_sparse
from sk_rqvae._checks.rows import refuse_other_kinds
from sk_rqvae._checks.sample_weight import check_sample_weight
from sk_rqvae._checks.scalars import check_int
from sk_rqvae._defaults import (
    COMMITMENT_WEIGHT,
    LEARNING_RATE,
)
from sk_rqvae._inference.dask import (
    gather,
    is_dask,
    lazy_inverse_transform,
    lazy_transform,
    refuse_dask,
)
from sk_rqvae._inference.explained_variance import explained_by_depth
from sk_rqvae._inference.module_on_rows import (
    assign_rows,
    best_candidates,
    distances_to_next_codes,
    reconstruct_codes,
)
from sk_rqvae._inference.report import SemanticIDReport, summarise
from sk_rqvae._inference.row_subset import ArrayOrTensor
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._persistence.assemble import adopt, rename
from sk_rqvae._persistence.checkpoints import load_checkpoint
from sk_rqvae._persistence.hub_upload import push_to_hub
from sk_rqvae._persistence.onnx import write_onnx
from sk_rqvae._persistence.pretrained import from_pretrained, save_pretrained
from sk_rqvae._progress import FitProgress, ProgressCallback
from sk_rqvae._sklearn.array_namespace import (
    array_or_device_tensor,
    in_host_memory,
    in_namespace_of,
)
from sk_rqvae._sklearn.callback_compat import (
    CallbackSupportMixin,
    fit_task,
    with_callbacks,
)
from sk_rqvae._sklearn.doc_link import DocLink
from sk_rqvae._sklearn.module_parameters import (
    ModuleParametersMixin,
    hides_module_parameters,
    is_own,
)
from sk_rqvae._sklearn.progress_bars import FitBars, progress_bar
from sk_rqvae._training.fit import train
from sk_rqvae._training.fit_summary import print_summary
from sk_rqvae._training.out_of_memory import (
    ENCODING,
    TRAINING,
    named_out_of_memory,
)
from sk_rqvae._training.seeds import draw_seed
from sk_rqvae._training.settings import Settings, check_settings
from sk_rqvae._training.turns import turn_of, without_turn
from sk_rqvae.metrics._affinity import weighted_pairs

_FITTED = (
    "net_",
    "codebooks_",
    "codebook_gains_",
    "n_iter_",
    "n_features_in_",
    "feature_names_in_",
)


class RQVAETransformer(
    DocLink,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ModuleParametersMixin,
    BaseEstimator,
):
    r"""Turn embeddings into semantic IDs with a residual-quantised autoencoder.

    Each row becomes a short tuple of integer codes, from coarse to fine: rows that
    share a prefix are similar. `inverse_transform` reconstructs rows from codes or from
    prefixes.

    The parameters are listed in groups: quantizer, model, loss, search, training and
    resources. The page "Parameters" of the user guide says who sets each one and why.

    Parameters
    ----------
    n_layers : int, default=3
        Number of levels, which is the number of codes of an ID.
    codebook_size : int or sequence of int, default=256
        Number of codes of a level: one number for all levels, or one per level.
    codebook_mode : str, QuantizeForwardMode or sequence of them, default="ste"
        How gradients pass the choice of codes: "gumbel_softmax", "ste",
        "rotation_trick" or "sinkhorn". One mode for all levels or one per level.
    codebook_kmeans_init : bool, default=True
        Initialise codebooks by k-means on residuals. False uses residuals of random
        rows, scaled by one factor.
    codebook_normalize : bool, default=False
        Keep latents and codes on the unit sphere. Each level has one learned gain.
    codebook_sim_vq : bool, default=False
        Freeze each codebook and learn one linear map of its vectors (SimVQ).
    restart_dead_codes : bool, default=True
        After each epoch, move codes that have been unused for long to residuals of
        random rows.
    init_sample_size : int, default=32768
        Number of random rows that initialise principal components and codebooks.
    embed_dim : int, default=None
        Width of the latents that are quantised. None keeps at most 1024 principal
        components, without those of low variance, which codes would overfit (see
        Notes). A smaller width is faster and reconstructs less; the papers use 32.
    hidden_dims : sequence of int, default=(64,)
        Widths of the hidden layers of the encoder. The papers use (512, 256, 128).
    decoder_hidden_dims : sequence of int, default=None
        Widths of the hidden layers of the decoder. None reverses `hidden_dims`.
    n_experts : int, default=None
        Number of experts: further MLPs of the decoder, of which each input uses one
        (see Notes). More of them reconstruct fitted rows better and take longer, on
        CUDA above all. None is one for each `hidden_dims[-1]` fitted rows, at most 64,
        if there is a linear path, `hidden_dims` has one layer and `decoder_hidden_dims`
        is None. Otherwise it is 0. A first `partial_fit` takes 64.
    activation : {"elu", "gelu", "leaky_relu", "relu", "silu", "tanh"}, default="relu"
        Activation function of the hidden layers.
    dropout : float, default=0
        Dropout probability of the hidden units, in [0, 1).
    linear_path : bool, default=True
        Add linear maps to the MLPs of encoder and decoder. They are initialised as PCA
        and the MLPs as zero, so that training begins at residual k-means. False gives
        the plain autoencoder of the papers.
    n_cat_features : int, default=0
        Number of binary columns, which must be the last of `X`. Their loss is the
        binary cross-entropy, and `inverse_transform` returns their probabilities.
    module : type, default=RQVAEModule
        Class of the model. Subclass `RQVAEModule` to change the loss. If its
        constructor has more parameters, set them with the prefix ``module__``:
        ``module__alpha=0.1`` passes ``alpha=0.1``.
    commitment_weight : float, default=0.5
        Weight of the loss that keeps latents close to their codes.
    noise : float, default=1
        Standard deviation of the input noise in training, relative to the quantisation
        error of the initial codebooks (see Notes). Raise it against overfitting.
    affinity_weight : float, default=1.0
        Variance of behaviour, which `fit` derives from `affinity`, relative to the
        variance of `X`. Raise it if IDs should follow `affinity` more and `X` less. If
        `X` already shows which items belong together, and there are more groups of them
        than codes, a larger weight can lower the lift of the first code.
    n_beams : int, default=5
        Beams of the search for codes. 1 is greedy residual quantisation, which
        training uses in any case.
    rerank : bool, default=True
        Let `transform` search twice `n_beams` candidates per row, decode them, and
        choose the one with the lowest reconstruction error instead of the one nearest
        to the latent. False is faster and reconstructs less. With one beam it has no
        effect.
    separate_ids : bool or "auto", default="auto"
        After training, give prices to IDs that several rows of `X` share, so that the
        rows choose different candidates (see Notes). "auto" makes the cheapest
        separations until the error has grown by 1%, True all that are found. If there
        are more rows than IDs, "auto" makes none. With True, rows then leave IDs that
        have more than their equal share, if a candidate has room.
    random_state : int, RandomState instance or None, default=None
        An int makes `fit` repeatable. Global generators are neither read nor set.
    max_epochs : int, default=None
        Passes over the rows in `fit`. None is 3400 divided by the square root of the
        number of rows, rounded up, at most 150. If the initial model reconstructs the
        rows almost exactly, training changes nothing, and None makes one epoch.
    batch_size : int, default=1024
        Rows per optimizer step, at most. The batches of an epoch have the same size,
        except for the last, which can have fewer rows.
    lr : float, default=4e-3
        Peak learning rate of AdamW. It should grow with the square root of
        `batch_size`.
    weight_decay : float, default=None
        Weight decay of MLPs and experts. None is 30 divided by the square root of the
        number of optimizer steps that the default `max_epochs` takes, whatever
        `max_epochs` is. With ``linear_path=False``, 1e-4 to 1e-2 are usual.
    lr_schedule : {"cosine", "constant"}, default="cosine"
        Schedule of the learning rate after the warm-up. For others, set "constant" and
        ``warmup_epochs=0``, and add ``skorch.callbacks.LRScheduler`` to `callbacks`.
    warmup_epochs : int, default=2
        Epochs of `fit` in which the learning rate rises linearly, at most half of the
        training.
    early_stopping : bool, default=False
        Hold rows out, stop when their reconstruction no longer improves, and restore
        the best weights. Nothing else uses the rows that are held out.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, in (0, 1).
    n_iter_no_change : int, default=10
        Epochs without improvement before stopping.
    warm_start : bool, default=False
        Let `fit` continue from the fitted model, if there is one.
    callbacks : list, default=None
        skorch callbacks. One that raises KeyboardInterrupt ends training, and the
        model is kept.
    device : str or torch.device, default="auto"
        "auto" is CUDA if there is a device, otherwise the CPU.
    verbose : int, default=0
        1 prints the reconstruction loss and the perplexity of each epoch, and a summary
        at the end. 2 prints all that the history has of each epoch. On a terminal, both
        also draw a progress bar on standard error for work that takes longer than two
        seconds.
    mixed_precision : {"auto", "bf16", "no"}, default="auto"
        "bf16" trains encoder and decoder in bfloat16, "no" in float32. All else uses
        float32. "auto" is "bf16" on devices with the instructions, and else "no": CUDA
        from compute capability 8.0, and CPUs with AVX512-BF16 or AMX, have them.
    resident_mb : float or "auto", default="auto"
        Largest training matrix, in MiB of float32, that is copied to the device; larger
        ones are streamed, and larger Dask collections are sampled. "auto" is 512 on a
        CPU and 8192 on a CUDA device.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net. Its `history` has one row per epoch.
    codebooks_ : list of ndarray of shape (codebook_size, embed_dim)
        Code vectors of each level.
    codebook_gains_ : ndarray of shape (n_layers,)
        Factors on the vectors of each level; 1 unless `codebook_normalize`.
    n_features_in_ : int
        Columns of `X`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if `X` has names that are all strings.
    n_iter_ : int
        Number of epochs.

    See Also
    --------
    SemanticIDIndex : Look items up by ID, and keep the IDs of a growing catalogue.
    sklearn.cluster.KMeans : One level, without an autoencoder.

    Notes
    -----
    The data decide two quantities. Let

    - :math:`u` be the share of variance that the initial codebooks leave unexplained,
    - :math:`g = \exp(2 n_\mathrm{layers} K / n)`, with :math:`K` codes per level and
      :math:`n` rows, the expected ratio of the squared residuals of unseen and fitted
      rows.

    **Noise.** Its standard deviation is :math:`\nu \sigma \sqrt{\min(g, e)\, 2u}`,
    where :math:`\sigma` is the standard deviation of the initial residuals, and
    :math:`\nu` the parameter `noise`.

    **Latent width.** With ``embed_dim=None`` and ``linear_path=True``, unless
    `codebook_normalize`, the latents drop the principal components of least variance.
    The dropped components have at most the share :math:`\min(g - 1, 1)\, u` of all
    variance, about what overfitting adds to the error of unseen rows. Reverse
    water-filling [1]_ predicts :math:`u` here, and no component above its water level
    is dropped. This assumes Gaussian components. k-means tests the assumption: if it
    finds structure in the components to be dropped, all are kept.

    **Experts.** An expert has one hidden layer, as wide as the encoder's last one. A
    reconstruction is the sum of the linear path, the decoder's MLP, and the expert
    whose centre has the direction nearest to that of the decoder's input. The centres
    are those of k-means of the directions of the initial latents. They do not change in
    training.

    `separate_ids` needs more than one beam. Where it would separate more than five
    million rows, `fit` warns and separates nothing. Exact duplicates always share their
    ID, and `partial_fit` keeps the prices of the last `fit`.

    References
    ----------
    .. [1] Cover and Thomas (2006), "Elements of Information Theory", theorem 10.3.3.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_rqvae import RQVAETransformer
    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> rq = RQVAETransformer(
    ...     n_layers=2, codebook_size=16, max_epochs=10, random_state=0
    ... ).fit(X)
    >>> codes = rq.transform(X)
    >>> codes.shape, codes.dtype
    ((200, 2), dtype('int64'))
    >>> rq.inverse_transform(codes).shape
    (200, 8)
    """

    @hides_module_parameters
    def __init__(
        self,
        *,
        n_layers: int = 3,
        codebook_size: int | Sequence[int] = 256,
        codebook_mode: Any = "ste",
        codebook_kmeans_init: bool = True,
        codebook_normalize: bool = False,
        codebook_sim_vq: bool = False,
        restart_dead_codes: bool = True,
        init_sample_size: int = 32768,
        embed_dim: int | None = None,
        hidden_dims: Sequence[int] = (64,),
        decoder_hidden_dims: Sequence[int] | None = None,
        n_experts: int | None = None,
        activation: str = "relu",
        dropout: float = 0,
        linear_path: bool = True,
        n_cat_features: int = 0,
        module: type[RQVAEModule] = RQVAEModule,
        commitment_weight: float = COMMITMENT_WEIGHT,
        noise: float = 1.0,
        affinity_weight: float = 1.0,
        n_beams: int = 5,
        rerank: bool = True,
        separate_ids: bool | str = "auto",
        random_state: int | np.random.RandomState | None = None,
        max_epochs: int | None = None,
        batch_size: int = 1024,
        lr: float = LEARNING_RATE,
        weight_decay: float | None = None,
        lr_schedule: str = "cosine",
        warmup_epochs: int = 2,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        callbacks: list[Any] | None = None,
        device: str | torch.device = "auto",
        verbose: int = 0,
        mixed_precision: str = "auto",
        resident_mb: float | str = "auto",
        **module_parameters: Any,
    ) -> None:
        self.n_layers = n_layers
        self.codebook_size = codebook_size
        self.codebook_mode = codebook_mode
        self.codebook_kmeans_init = codebook_kmeans_init
        self.codebook_normalize = codebook_normalize
        self.codebook_sim_vq = codebook_sim_vq
        self.restart_dead_codes = restart_dead_codes
        self.init_sample_size = init_sample_size
        self.embed_dim = embed_dim
        self.hidden_dims = hidden_dims
        self.decoder_hidden_dims = decoder_hidden_dims
        self.n_experts = n_experts
        self.activation = activation
        self.dropout = dropout
        self.linear_path = linear_path
        self.n_cat_features = n_cat_features
        self.module = module
        self.commitment_weight = commitment_weight
        self.noise = noise
        self.affinity_weight = affinity_weight
        self.n_beams = n_beams
        self.rerank = rerank
        self.separate_ids = separate_ids
        self.random_state = random_state
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.warmup_epochs = warmup_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.device = device
        self.verbose = verbose
        self.mixed_precision = mixed_precision
        self.resident_mb = resident_mb
        for name, value in module_parameters.items():
            if not is_own(name):
                raise TypeError(
                    f"{type(self).__name__}.__init__() got an unexpected keyword "
                    f"argument {name!r}"
                )
            setattr(self, name, value)

    @with_callbacks
    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        *,
        affinity: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> RQVAETransformer:
        """Train on the rows of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Also a Dask array or DataFrame. Its rows are read a few blocks at a time.
            If they would take more than `resident_mb`, random blocks are read, and the
            log says so. A tensor on a CUDA device needs scikit-learn's
            `array_api_dispatch` and must be on `device`. Its rows stay there, except
            with `affinity`, which is fitted on the CPU.
        y : None
            Ignored.
        affinity : scipy sparse matrix of shape (n_samples, n_samples), default=None
            Non-negative weights of pairs of rows that belong together, such as
            `sk_rqvae.interactions.cooccurrence` returns. IDs then follow `X` and
            affinity; new rows get the IDs of similar rows (see Notes). The diagonal is
            ignored. One that is not symmetric is replaced by the mean of it and its
            transpose. None uses `X` alone.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, such as how often each item is bought. Rows are drawn
            in proportion to them for initialisation and training. Where IDs are
            separated, the heavier of two items keeps an ID that both want (see Notes).
            Rows of weight zero are left out. None gives equal weights.

        Returns
        -------
        self : RQVAETransformer

        Raises
        ------
        TypeError, ValueError
            If a parameter or an argument is not as documented.
        DivergenceError
            If the loss is no longer finite.

        Warns
        -----
        CollapseWarning
            If few codes of a level are used.
        UserWarning
            If there are few rows per code, or too many rows to separate IDs. If one
            column has more than nine tenths of the variance of `X`. If `affinity` has
            no effect, or its spectral embedding is incomplete.

        Notes
        -----
        All or nothing: if `fit` fails, the transformer is as it was before. Threads
        that fit one transformer take turns, and calls of other methods meanwhile use
        the model before or the model after, never parts of both.

        With `affinity`, IDs follow the rows and what the rows say of behaviour:

        1. A spectral embedding of `affinity` [1]_ describes each item by a vector of
           unit length. It does not depend on the popularity of items.
        2. Ridge regression predicts these vectors from the rows. For up to 4096 items
           of the largest affinity times weight, a Gaussian kernel adds what the
           regression misses.
        3. The prediction, with `affinity_weight` times the variance of `X`, is put in
           front of each row. Both are quantised together.

        A new row gets the behaviour that its own values predict, and that of items with
        similar rows. Reconstructions and `score` are of `X` alone, and worse than
        without `affinity`: the codes also describe behaviour. If training continues
        (`warm_start`, `partial_fit`), the affinity of later rows is added to the map.

        Integer weights act like repeated rows, but not exactly: rows are drawn at
        random, and an epoch has as many draws as there are rows. The number of epochs
        and the noise follow the number of rows, since repeated rows are no protection
        against overfitting. If two items want one ID and IDs are separated
        (`separate_ids`), the heavier keeps it if a discount on a free ID can attract
        the lighter one and no other row. Otherwise the item whose error would grow most
        keeps the ID.

        References
        ----------
        .. [1] Ng, Jordan and Weiss (2001), "On spectral clustering: analysis and an
           algorithm".
        """
        with turn_of(self):
            start = perf_counter()
            settings = check_settings(self)
            X = self._gathered(X, settings, affinity, sample_weight)
            data = {"X": X, "y": y}
            n_before = self.n_iter_ if self.warm_start and hasattr(self, "net_") else 0
            bars = FitBars(self.verbose > 0)
            with fit_task(self, data, adopt, bars) as progress:
                self._fit(
                    X,
                    settings,
                    progress,
                    continues=self.warm_start,
                    affinity=affinity,
                    sample_weight=sample_weight,
                )
            if self.verbose:
                print_summary(self.net_, n_before, perf_counter() - start)
        return self

    def partial_fit(
        self,
        X: ArrayLike,
        y: Any = None,
        *,
        affinity: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> RQVAETransformer:
        """Train for one pass over the rows of `X`, at a constant learning rate.

        The first call on an unfitted transformer also initialises it from `X`: location
        and scale, principal components and codebooks. To continue for several epochs
        with a schedule, use `fit` with ``warm_start=True``. IDs keep the prices of the
        last `fit` (see `separate_ids`), unless `rerank` has changed.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : None
            Ignored.
        affinity : scipy sparse matrix of shape (n_samples, n_samples), default=None
            Which rows of this batch belong together. If a later call has it, the first
            must have it too.
        sample_weight : array-like of shape (n_samples,), default=None
            As in `fit`.

        Returns
        -------
        self : RQVAETransformer

        Raises
        ------
        TypeError, ValueError
            If a parameter or an argument is not as documented.
        DivergenceError
            If the loss is no longer finite.

        Warns
        -----
        CollapseWarning
            If few codes of a level are used.
        UserWarning
            If the first call has few rows per code, or a column with more than nine
            tenths of the variance. If `affinity` has no effect, or its spectral
            embedding is incomplete.
        """
        with turn_of(self):
            settings = check_settings(self)
            X = self._gathered(X, settings, affinity, sample_weight)
            self._fit(
                X,
                settings,
                FitBars(self.verbose > 0),
                continues=True,
                is_partial=True,
                affinity=affinity,
                sample_weight=sample_weight,
            )
        return self

    def transform(self, X: ArrayLike) -> Any:
        """Semantic IDs of the rows of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Also a Dask array or DataFrame.

        Returns
        -------
        ndarray or Tensor of shape (n_samples, n_layers), dtype int64
            The codes of a row depend on that row alone. With scikit-learn's
            `array_api_dispatch`, a tensor gives a tensor on its device. A Dask
            collection gives a Dask collection, which is not yet computed.

        Raises
        ------
        TypeError
            If `X` is sparse, has masked values, dates or lists, or is a tensor on a
            CUDA device without `array_api_dispatch`.
        ValueError
            If `X` has other columns than in `fit`, or values that are not finite, or is
            on another CUDA device than the model.
        """
        model = self._snapshot()
        if is_dask(X):
            return lazy_transform(model, X)
        return in_namespace_of(X, model._assign(model._check_rows(X, reset=False)))

    def candidates(self, X: ArrayLike, k: int = 5) -> tuple[Any, Any]:
        """The `k` best IDs of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        k : int, default=5
            From 1 to the number of possible IDs. Above the number of candidates that
            `transform` compares, a larger `k` takes longer.

        Returns
        -------
        codes : ndarray or Tensor of shape (n_samples, k, n_layers), dtype int64
            In ascending order of their errors. The first is what `transform` returns,
            unless `k` exceeds the number of candidates that it compares. A tensor if
            `transform` returns one.
        errors : ndarray or Tensor of shape (n_samples, k), dtype float64
            The squared error of the standardised reconstruction with `rerank`,
            otherwise of the latent, plus the price of the ID. `transform` minimises it,
            unless one beam leaves it a single candidate. With `rerank`, binary columns
            add their cross-entropy, and `affinity` the error of the behaviour that the
            latent predicts.

        Raises
        ------
        TypeError, ValueError
            If `k` is not in its range, or `X` is not as for `transform`.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_rqvae import RQVAETransformer
        >>> X = np.random.default_rng(0).normal(size=(200, 8))
        >>> rq = RQVAETransformer(
        ...     n_layers=2,
        ...     codebook_size=16,
        ...     hidden_dims=(64,),
        ...     max_epochs=10,
        ...     random_state=0,
        ... ).fit(X)
        >>> codes, errors = rq.candidates(X, k=3)
        >>> codes.shape, errors.shape
        ((200, 3, 2), (200, 3))
        >>> bool((codes[:, 0] == rq.transform(X)).all())
        True
        """
        model = self._snapshot()
        check_int("k", k, minimum=1)
        n_ids = math.prod(model._sizes())
        if k > n_ids:
            raise ValueError(f"k must be at most the number of IDs, {n_ids}. Got {k}.")
        rows = model._check_rows(X, reset=False)
        with (
            named_out_of_memory(model, ENCODING),
            model._bar("searching", len(rows)) as on_progress,
        ):
            codes, errors = best_candidates(
                model.net_.module_, rows, int(k), on_progress
            )
        return in_namespace_of(X, codes), in_namespace_of(X, errors)

    def inverse_transform(self, X: ArrayLike) -> Any:
        """Reconstruct rows from their codes, or coarsely from a prefix of them.

        Parameters
        ----------
        X : array-like of shape (n_samples, k), k <= n_layers
            Codes, as `transform` gives them. Also a Dask array or DataFrame.

        Returns
        -------
        ndarray or Tensor of shape (n_samples, n_features), dtype float64
            In the units of the training data; probabilities for binary columns. A
            tensor gives a tensor as in `transform`. A Dask collection gives a Dask
            collection, which is not yet computed.

        Raises
        ------
        TypeError
            If codes are not numbers.
        ValueError
            If there are more columns than levels, if the columns of a DataFrame have
            the names of `get_feature_names_out` in another order, or if a code is
            fractional, negative or not in its codebook.
        """
        model = self._snapshot()
        if is_dask(X):
            return lazy_inverse_transform(model, X)
        return in_namespace_of(X, model._reconstruct(model._check_codes(X)))

    def next_code_distances(self, X: ArrayLike, prefix: ArrayLike) -> NDArray[Any]:
        """Squared distances of each latent to its prefix extended by each next code.

        `SemanticIDIndex` uses them to find the nearest free ID.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Column names are ignored.
        prefix : array-like of shape (n_samples, depth), 0 <= depth < n_layers
            The codes that are given.

        Returns
        -------
        ndarray of shape (n_samples, codebook_size), dtype float64
            In the latent space, for the codes of level `depth`.

        Raises
        ------
        TypeError, ValueError
            If `X` is not as for `transform`, or is a Dask collection, if the shapes do
            not fit the model or each other, or if a code is not in its codebook.
        """
        model = self._snapshot()
        refuse_dask(X)
        refuse_other_kinds(X)
        rows = check_array(in_host_memory(X), dtype=np.float64)
        fixed = np.asanyarray(in_host_memory(prefix))  # masked codes are refused below
        sizes = model._sizes()
        depth = fixed.shape[1] if fixed.ndim == 2 else -1
        if not 0 <= depth < len(sizes) or len(fixed) != len(rows):
            raise ValueError(
                f"prefix must have shape ({len(rows)}, depth) with depth below "
                f"n_layers={len(sizes)}. Got {fixed.shape}."
            )
        if rows.shape[1] != model.n_features_in_:
            raise ValueError(
                f"X must have {model.n_features_in_} columns. Got {rows.shape[1]}."
            )
        check_binary_columns(rows, model._n_cat_features())
        if depth:
            fixed = check_codes(fixed, sizes[:depth], name="prefix")
        return distances_to_next_codes(model.net_.module_, rows, fixed)

    def rename_codes(self, code_maps: Sequence[ArrayLike]) -> Self:
        """Return a copy of the model whose codes have other names.

        `SemanticIDIndex.realign` finds names that keep most IDs of another model. The
        copy is an ordinary fitted transformer, and can be saved, exported and trained
        on. Reconstructions, scores and which rows share an ID are those of the model.

        Parameters
        ----------
        code_maps : sequence of array-like of shape (codebook_size,)
            ``code_maps[level][code]`` is the new name of a code: for each level a
            permutation of its codes.

        Returns
        -------
        RQVAETransformer

        Raises
        ------
        TypeError, ValueError
            If `code_maps` are not as documented.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_rqvae import RQVAETransformer
        >>> X = np.random.default_rng(0).normal(size=(200, 8))
        >>> rq = RQVAETransformer(
        ...     n_layers=2, codebook_size=4, max_epochs=5, random_state=0
        ... ).fit(X)
        >>> renamed = rq.rename_codes([[3, 2, 1, 0], [0, 1, 2, 3]])
        >>> first, second = rq.transform(X).T
        >>> bool((renamed.transform(X).T == [3 - first, second]).all())
        True
        """
        model = self._snapshot()
        rename(model, check_code_maps(code_maps, model._sizes()))
        return model

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
            column means of `X`. If it is zero, 1 for an exact reconstruction and 0
            otherwise.

        Raises
        ------
        TypeError, ValueError
            If `X` is not as documented, or is a Dask collection.
        """
        model = self._snapshot()
        rows = model._check_rows(X, reset=False)
        depths = [len(model._sizes())]
        return float(model._explained(rows, model._assign(rows), depths)[0])

    def report(self, X: ArrayLike, affinity: Any = None) -> SemanticIDReport:
        """Describe how well IDs represent their rows, level by level.

        In a Pipeline, pass it the output of the steps before:
        ``pipe[-1].report(pipe[:-1].transform(X))``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        affinity : sparse matrix or array of shape (n_samples, n_samples), default=None
            If given, the report has a column of `sk_rqvae.metrics.affinity_lift`:
            whether items that belong together share prefixes.

        Returns
        -------
        SemanticIDReport
            Explained variance of `X`, usage, perplexity and number of different
            prefixes of each level. It prints as a table, in a notebook too.

        Raises
        ------
        TypeError, ValueError
            If `X` is not as for `transform` or is a Dask collection, or `affinity` is
            not as for `sk_rqvae.metrics.affinity_lift`.
        """
        model = self._snapshot()
        rows = model._check_rows(X, reset=False)
        # Checked before the work.
        pairs = None if affinity is None else weighted_pairs(affinity, len(rows))
        codes = model._assign(rows)
        sizes = model._sizes()
        depths = range(1, len(sizes) + 1)
        explained = model._explained(rows, codes, depths)
        return summarise(in_host_memory(codes), sizes, explained, pairs)

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
        save_pretrained(self._snapshot(), folder, report)

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
        return push_to_hub(
            self._snapshot(),
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

        It has the same parameters, history and codebooks. On the same machine and with
        the same releases, it gives the same IDs and reconstructions bit for bit. The
        optimizer's state is not saved. Loading runs no code from the folder: one from a
        stranger can at worst be refused.

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
            If a file is missing, or there is neither such a folder nor such a model on
            the Hub.
        ImportError
            If the model is on the Hub and the extra ``hub`` is not installed.
        ValueError
            If a file is truncated, was changed, belongs to another model, is of another
            version of the format, or holds an unknown parameter. The message names the
            file and the reason. Also if the model's class must be passed, or
            `revision` is given for a folder.

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
        >>> rq = RQVAETransformer(
        ...     n_layers=2, codebook_size=16, max_epochs=10, random_state=0
        ... ).fit(X)
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
        int64 of shape ``(n, n_layers)``, for any ``n``. It standardises, searches and
        re-ranks as `transform` does. Since other kernels round differently, rows that
        lie within rounding of two codes can get the other one.

        Parameters
        ----------
        path : str or path-like
            Replaced in one step.
        decoder : bool, default=False
            Write the decoder instead: ``codes`` to ``rows``, as `inverse_transform`
            does for complete IDs. The graph does not check the codes.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the transformer is not fitted.
        ImportError
            If the extra ``onnx`` is not installed.
        """
        write_onnx(self._snapshot().net_.module_, path, decoder=decoder)

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
        own layout is that of the module's state dict, which
        ``skorch.callbacks.Checkpoint`` and ``net_.save_params`` write.

        Sizes are read from the shapes. To continue training, pass ``warm_start=True``
        and call `fit`.

        Parameters
        ----------
        path : str or path-like
            What ``torch.save`` wrote, or a ``.safetensors`` file. It is read with
            ``weights_only=True``: no code in it is run.
        activation : str, default="relu"
            Activation function of the model, which the checkpoint does not contain. A
            wrong one gives wrong IDs. genrec uses "silu". RQ-VAE-Recommender has used
            "relu" since March 2026, and used "silu" before.
        **parameters
            Further parameters of the transformer that do not follow from the shapes,
            such as `n_cat_features`, or `codebook_normalize` for models of the other
            projects. For these, the defaults are ``n_beams=1`` and ``rerank=False``.

        Returns
        -------
        RQVAETransformer
            Fitted. ``net_.history`` is empty.

        Raises
        ------
        ValueError
            If the file is damaged, has another layout, or needs more than
            ``weights_only=True``; the message then says how to rewrite it.
        TypeError
            If a parameter is unknown or follows from the shapes.

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

    def __getstate__(self) -> dict[str, Any]:
        return without_turn(super().__getstate__())

    def _snapshot(self) -> Self:
        """Copy the transformer, so that other threads cannot change the copy."""
        check_is_fitted(self)
        return copy.copy(self)

    def _gathered(self, X: Any, settings: Settings, *by_row: Any) -> Any:
        """`X`, read into memory if it is a Dask collection.

        What is given `by_row` needs all rows, where `gather` may read a sample.
        """
        if not is_dask(X):
            return X
        seed = draw_seed(self.random_state)
        rows = gather(self, X, max_bytes=settings.resident_bytes, seed=seed)
        lengths = [np.shape(each)[0] for each in by_row if np.ndim(each)]
        if any(length > len(rows) for length in lengths):
            raise ValueError(
                f"X is a Dask collection of which {len(rows)} rows were read, with "
                f"resident_mb={self.resident_mb!r}. affinity and sample_weight have "
                f"{max(lengths)} rows: raise resident_mb, so that all rows of X are "
                "read, or fit on rows in memory and what belongs to them."
            )
        return rows

    def _check_rows(
        self, X: ArrayLike, *, reset: bool, device: torch.device | None = None
    ) -> ArrayOrTensor:
        refuse_dask(X)
        refuse_sparse(X)
        X = array_or_device_tensor(X, device or self._device())
        refuse_other_kinds(X)
        try:
            rows = validate_data(
                self, X, reset=reset, dtype="numeric", ensure_all_finite=False
            )
            refuse_other_kinds(rows)  # lists have their dtype only now
            if isinstance(rows, np.ndarray) and rows.dtype in (np.longdouble, object):
                rows = rows.astype(np.float64, copy=False)
        except OverflowError as error:
            raise ValueError(f"X must have values of float64. Got: {error}.") from error
        check_finite(rows)
        n_cat_features = self.n_cat_features if reset else self._n_cat_features()
        n_features = rows.shape[1]
        if n_cat_features > n_features:
            raise ValueError(
                f"n_cat_features must be at most the number of columns, {n_features}. "
                f"Got {n_cat_features}."
            )
        if n_cat_features:
            check_binary_columns(rows, n_cat_features)
        return rows

    def _check_codes(self, X: ArrayLike) -> ArrayOrTensor:
        sizes = self._sizes()
        check_order_of_columns(X, self.get_feature_names_out())
        codes = array_or_device_tensor(X, self._device())
        if not isinstance(codes, torch.Tensor):
            codes = np.asanyarray(codes)  # masked codes are refused below
        if codes.ndim == 2 and codes.shape[1] > len(sizes):
            raise ValueError(
                f"X must have at most n_layers={len(sizes)} columns of codes. "
                f"Got {codes.shape[1]}."
            )
        depth = codes.shape[1] if codes.ndim == 2 else len(sizes)
        checked: ArrayOrTensor = check_codes(codes, sizes[:depth], name="X")
        return checked

    def _bar(self, doing: str, n_rows: int) -> AbstractContextManager[ProgressCallback]:
        return progress_bar(doing, n_rows, shown=self.verbose > 0)

    def _assign(self, rows: ArrayOrTensor) -> Any:
        with (
            named_out_of_memory(self, ENCODING),
            self._bar("transforming", len(rows)) as on_progress,
        ):
            return assign_rows(self.net_.module_, rows, on_progress)

    def _reconstruct(self, codes: ArrayOrTensor) -> Any:
        with (
            named_out_of_memory(self, ENCODING),
            self._bar("reconstructing", len(codes)) as on_progress,
        ):
            return reconstruct_codes(self.net_.module_, codes, on_progress)

    def _explained(
        self, rows: ArrayOrTensor, codes: ArrayOrTensor, depths: Sequence[int]
    ) -> NDArray[np.float64]:
        unit = float(self.net_.module_.input_scale.max())
        with self._bar("scoring", len(rows) * len(depths)) as on_progress:
            return explained_by_depth(
                rows, codes, self._reconstruct, depths, unit, on_progress
            )

    def _n_cat_features(self) -> int:
        return self.net_.module_.n_cat_features

    def _device(self) -> torch.device:
        device: torch.device = self.net_.module_.input_mean.device
        return device

    def _sizes(self) -> list[int]:
        return list(self.net_.module_.quantizer.sizes)

    def _fit(
        self,
        X: ArrayLike,
        settings: Settings,
        progress: FitProgress,
        *,
        continues: bool,
        is_partial: bool = False,
        affinity: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> None:
        """Fit a copy, and take over its fitted attributes at the end, all at once."""
        new = copy.copy(self)
        net = getattr(self, "net_", None) if continues else None
        if net is None:
            for name in _FITTED:
                if name in vars(new):
                    delattr(new, name)
        rows = new._check_rows(X, reset=net is None, device=settings.device)
        weights = None
        if sample_weight is not None:
            weights = check_sample_weight(in_host_memory(sample_weight), len(rows))
        pairs = None
        if affinity is not None:
            pairs = check_affinity(affinity, len(rows))
        with named_out_of_memory(self, TRAINING):
            net = train(
                self,
                rows,
                settings,
                progress,
                earlier=net,
                is_partial=is_partial,
                weights=weights,
                affinity=pairs,
            )
        adopt(new, net)
        state = vars(self).copy()
        for name in _FITTED:
            state.pop(name, None)
        state |= {name: vars(new)[name] for name in _FITTED if name in vars(new)}
        # One assignment: another thread sees the attributes of one model.
        self.__dict__ = state
