"""Every constant that was tuned: chosen by the scores of fits, not derived.

Each has its unit, what it does, and what was measured. The data are

- *nouns*: the rows of `load_wordnet_nouns` with 3 x 256 codes, 3600 of them fitted and
  400 unseen, as in ``benchmarks/quality.py``;
- *17 cases*: the data sets and sizes of ``benchmarks/carry_over.py``;
- *patches*, *digits*, *breast cancer* and others: single cases of these.

Figures are changes of the squared error, from trials during development, mostly with
one seed. "Not measured on its own" means that no trial changed this constant alone, or
that its figure was not recorded. Constants that only trade memory for speed, and
tolerances, are defined in the modules that use them.
"""

from __future__ import annotations

# --- Optimisation -----------------------------------------------------------------

LEARNING_RATE = 2e-3
"""Peak learning rate of AdamW, before `LR_TIMES_WIDTH` lowers it.

Three times this rate reconstructed fitted patches much better and unseen ones worse; a
third of it reconstructed fitted patches less well.
"""

ADAM_BETAS = (0.9, 0.99)
"""Decay rates of AdamW's two moments, per step.

A fit makes about a thousand steps, so with the usual 0.999 the large first gradients
would shorten nearly all of them. Against 0.999, the second rate took 4% off the error
of 11 000 fitted rows of text and 8% of 3600; unseen rows were unchanged. 0.95 took off
more, and added up to 1% on unseen rows. The first rate is PyTorch's default.
"""

WEIGHT_DECAY = 1.0
"""Decoupled weight decay of MLPs and experts, per unit of learning rate.

These correct the linear paths, so they may be decayed harder than complete networks.
Unseen nouns gained from it. Not measured on its own.
"""

MIN_STEPS = 860
"""Optimizer steps that ``max_epochs=None`` makes at least, if `MAX_EPOCHS` allows.

With more epochs only fitted rows gained. Not measured on its own.
"""

MIN_EPOCHS, MAX_EPOCHS = 10, 150
"""Bounds on the epochs of ``max_epochs=None``. Not measured on their own."""

MIN_BATCH_SIZE, MAX_BATCH_SIZE = 256, 2048
"""Bounds on the rows per step of ``batch_size=None``.

Between them a fit makes `MIN_STEPS` steps in `MIN_EPOCHS` epochs. Against 256 rows, 512
took 4% off the error of 43 000 fitted nouns and 1% off unseen ones in bfloat16 (two
seeds). In float32 such steps took 1 to 2% off fitted rows of two matrices of 43 000 and
59 000 rows, and unseen rows changed by less than 0.3%. The upper bound limits memory,
and was not tuned.
"""

ANNEALING_SHARE = 0.5
"""Share of the epochs in which the temperature falls from 1 to 0.

Not measured on its own.
"""

LR_TIMES_WIDTH = 590.0
"""Latent width above which the learning rate falls, if codebooks explain nothing.

Chosen on the nouns and the 17 cases. Not measured on its own.
"""

LR_EXPONENT = 0.75
"""Power of the unexplained share of variance with which that width falls.

3/4 instead of 2/3 took 1 to 2% off unseen patches and correlated columns (two to six
seeds).
"""

NEGLIGIBLE_RESIDUAL = 1e-4
"""Unexplained share of variance below which ``max_epochs=None`` does not train.

Such a share occurs with hardly more rows than codes. Not measured on its own.
"""

# --- Architecture -----------------------------------------------------------------

DECODER_WIDENING = 2
"""Width of the hidden layer of the decoder's MLP relative to the encoder's, if there is
one.

10 800 nouns, 32 experts of 256 units: without an MLP, with one of 512 units and with
one of 1024, explained variance was 0.587, 0.595 and 0.599 on fitted rows, and 0.402,
0.403 and 0.405 on unseen ones (one seed; the encoder had 1024 units for the first two
and 256 for the third).
"""

N_EXPERTS = 32
"""Experts of the decoder, if the encoder has one hidden layer. Each is as wide as it.

Explained variance of 10 800 nouns, one seed: an encoder of 256 units, 32 experts of 256
and an MLP of 512 reach 0.593 on fitted and 0.404 on unseen rows in 56 s of processor
time. An encoder of 1024 and a decoder of one layer of 8192 units reach 0.589 and 0.407
in 169 s. On voices, pictures and histories, unseen rows lost 0.001 to 0.002, and fitted
rows gained 0.001 to 0.021. Without an MLP, 16 experts of 256 units reach 0.548 and
0.399, 32 of 256 reach 0.587 and 0.402, and 32 of 512 reach 0.631 and 0.404. An MLP of
1024 units alone reaches 0.489 and 0.393.
"""

ROWS_PER_EXPERT = 256
"""Fitted rows for each expert, where there are too few for `N_EXPERTS`.

Experts of fewer rows memorise them. 3600 patches, error over faiss's with 4, 14 and 32
experts: fitted 0.80, 0.60, 0.44; unseen 0.987, 0.994, 1.001. 512 tumours, with 4, 14
and 32: unseen 0.979, 1.008, 1.016.
"""

DEEP_DECODER_WIDENING = 3
"""Width of the decoder's hidden layers relative to the encoder's, if there are
several. Not measured on its own."""

CLIPPING_RADIUS = 2.0
"""Norm to which inputs of the MLPs are clipped, in root-mean-square norms of the rows.

Without clipping, outliers among heavy tails lost what their codes explain as soon as
training began. The value was not measured on its own.
"""

# --- Codes and beams --------------------------------------------------------------

CANDIDATES_PER_BEAM = 3
"""Candidates that `rerank` decodes, per beam of training.

With 15 candidates of the nouns, trying every code of each level in turn under the
decoder's error found hardly better IDs.
"""

PREFIX_WEIGHT = 0.14
"""Weight of the prefix loss, and of prefix errors in the score of a beam.

0.28 before `TRAINING_PREFIX_PENALTY` was raised from 1 to 20. With both changes, first
codes, complete IDs and unseen rows of the nouns gained.
"""

TRAINING_PREFIX_PENALTY = 20.0
"""Factor on the weight of prefix errors in the score of a beam during training.

See `PREFIX_WEIGHT`. The same penalty in `transform` improves first codes and worsens
unseen rows.
"""

PREFIX_BATCH_SHARE = 0.25
"""Share of the rows of a batch that are also decoded from a prefix.

It limits the time of a step. Not measured on its own.
"""

STE_COMMITMENT = 3.0
"""Multiplier of the commitment weight for straight-through levels.

With 1, latents grew, and correlated columns ended worse than at initialisation.
"""

ROTATION_COMMITMENT = 1.5
"""Multiplier of the commitment weight for levels of the rotation trick.

With it the mode explained 96% of what the best mode explained of the nouns, and 95%
with 1.
"""

MIN_GUMBEL_TEMPERATURE = 0.02
"""Lowest temperature by which Gumbel-Softmax divides its logits.

Not measured on its own.
"""

SINKHORN_EPSILON = 0.05
"""Entropic regularisation, in mean excess distances over the nearest code.

Not measured on its own.
"""

SINKHORN_RELAXATIONS = (4.0, 10.0, 2.0, 6.0, 2.0)
"""Over-relaxation factors of the Sinkhorn iterations.

Tuned for even masses on random distances, not for scores: these eleven iterations
balance the codes about as well as thirty plain ones.
"""

# --- Initialisation ---------------------------------------------------------------

NOISE = 0.88
"""Standard deviation of the input noise, in initial residuals.

Chosen on the nouns. Not measured on its own.
"""

LOW_RESIDUAL, LOW_RESIDUAL_EXPONENT = 0.5, 0.5
"""Below this unexplained share of variance the noise falls with this power of it.

Against noise of full size, this took 6 to 36% off the error of fitted rows among the 17
cases with few directions. Unseen digits lost 5%, other unseen rows at most 2%, and
patches gained.
"""

HIGH_RESIDUAL, HIGH_RESIDUAL_EXPONENT = 0.6, 2.0
"""Above this unexplained share of variance the noise grows with this power of it.

Chosen on the 17 cases, those of few rows. Not measured on its own.
"""

MAX_NOISE_FACTOR = 1.6
"""Largest factor by which a high residual raises the noise. Not measured on its own."""

DISCARD_EXPONENT, MAX_DISCARD_SHARE = 1.5, 0.5
"""Power of the unexplained share, and largest factor, in the discarded share.

That is the share of variance whose components ``embed_dim=None`` discards, see
`gaussian_width`. Chosen on the 17 cases. Not measured on their own.
"""

MAX_STRUCTURE_DISCARDED = 0.01
"""Largest structure in the components that may be discarded, as a share of variance.

Structure is what k-means explains of them beyond what it explains of Gaussian ones.
Discarding components of sparse glosses lost a quarter on unseen rows before training;
the embedded nouns stay below the limit.
"""

KMEANS_STAGES, KMEANS_FULL_STAGES = 10, 2
"""Numbers of components that progressive k-means clusters in, and how many of these
stages, the last, use all points.

Not measured on their own.
"""

KMEANS_ITERATIONS = 10
"""Lloyd iterations of each stage. Not measured on its own."""

KMEANS_POINTS_PER_CLUSTER = 32
"""Points for each cluster in the stages that do not use all points.

It limits the time of the initialisation. Not measured on its own.
"""

POINTS_PER_CODE = 256
"""Residuals for each code of a level that k-means clusters at most.

It limits the time of the initialisation. Not measured on its own.
"""

PLAUSIBLE_ERROR = 2.0
"""Largest squared error of a beam that k-means learns from.

It is relative to the error that the row would have if it had been left out. Chosen on
the 17 cases, those of distant clusters. Not measured on its own.
"""

# --- Behaviour --------------------------------------------------------------------

BEHAVIOUR_WIDTH = 64
"""Eigenvectors of the affinity that items are described by. MovieLens-1M."""

BEHAVIOUR_KERNEL_RIDGE = 0.01
"""Penalty of the kernel map, in similarities of a row with itself. MovieLens-1M, films
held out."""

MAX_CENTRES = 4096
"""Items whose behaviour is remembered one by one. Limits memory and time; not tuned."""

# --- Dead codes and shared IDs ----------------------------------------------------

IDLE_ROWS_PER_CODE = 16
"""Rows, for each code of a level, after which an unused code is restarted.

After a single epoch, codes that were unused by chance were moved to single rows and
memorised them. The value was not measured on its own.
"""

MIN_ROWS_PER_CODE = 3
"""Fitted rows for each code in use, below which no code is restarted.

While every unused code was restarted, breast cancer, with two fitted rows for each
code, had 0.404 of faiss's error on fitted rows and 1.070 of it on unseen ones.
"""

SEPARATION_BUDGET = 0.01
"""Relative increase of the rows' error that ``separate_ids="auto"`` may cause.

A compromise between unique IDs and reconstruction. Not measured on its own.
"""
