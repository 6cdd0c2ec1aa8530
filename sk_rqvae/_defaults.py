"""Every constant that was tuned: found by looking at scores, not derived.

Each has its unit, what it does and where it was measured. "Nouns" are
`load_wordnet_nouns`, 4000 x 384, in `benchmarks/quality.py`; "17 cases" are the data
sets of `benchmarks/carry_over.py`. Constants that only trade memory for speed, and
tolerances, stand where they are used.
"""

from __future__ import annotations

# --- Optimisation -----------------------------------------------------------------

LEARNING_RATE = 2e-3
"""Peak learning rate of AdamW, before `LR_TIMES_WIDTH` lowers it. Nouns."""

ADAM_BETAS = (0.9, 0.99)
"""Decay rates of AdamW's moments, per step. A fit makes about a thousand steps, so the
usual 0.999 would let the large first gradients shorten nearly all of them. Nouns."""

WEIGHT_DECAY = 1.0
"""Decoupled weight decay of the MLPs, per unit of learning rate. The MLPs correct the
linear paths, so they may be decayed harder than whole networks are. Nouns."""

MIN_STEPS = 860
"""Optimizer steps that `max_epochs=None` makes at least. 17 cases."""

MIN_EPOCHS, MAX_EPOCHS = 10, 150
"""Bounds on the epochs of `max_epochs=None`. 17 cases."""

ANNEALING_SHARE = 0.5
"""Share of the epochs in which the temperature falls from 1 to 0. Nouns."""

LR_TIMES_WIDTH = 590.0
"""`embed_dim` at which the learning rate begins to fall, if the initial codebooks
explain nothing. Nouns and 17 cases."""

LR_EXPONENT = 0.75
"""Power of the unexplained share of variance in that width. 17 cases."""

NEGLIGIBLE_RESIDUAL = 1e-4
"""Unexplained share of variance below which `max_epochs=None` does not train. 17
cases, those with hardly more rows than codes."""

# --- Architecture -----------------------------------------------------------------

DECODER_WIDENING = 8
"""Width of the decoder's hidden layer over the encoder's, if there is one. Nouns."""

DEEP_DECODER_WIDENING = 3
"""Likewise if there are several hidden layers. Nouns."""

CLIPPING_RADIUS = 2.0
"""Norm to which inputs of the MLPs are clipped, in root-mean-square norms of
standardised rows. 17 cases, those with heavy tails."""

# --- Codes and beams --------------------------------------------------------------

CANDIDATES_PER_BEAM = 3
"""Candidates that `rerank` decodes, per beam of training. Nouns."""

PREFIX_WEIGHT = 0.14
"""Weight of the prefix loss and of prefix errors in the beam score. Nouns."""

TRAINING_PREFIX_PENALTY = 20.0
"""Factor on the weight of prefix errors in the beam score during training. Nouns."""

PREFIX_BATCH_SHARE = 0.25
"""Share of a batch's rows that are also decoded from a prefix. Nouns."""

STE_COMMITMENT = 3.0
"""Multiplier of the commitment weight for straight-through levels. Nouns."""

ROTATION_COMMITMENT = 1.5
"""Multiplier of the commitment weight for rotation-trick levels. Nouns."""

MIN_GUMBEL_TEMPERATURE = 0.02
"""Lowest temperature of the Gumbel-Softmax kernel width. Nouns."""

SINKHORN_EPSILON = 0.05
"""Entropic regularisation, in mean excess distances over the nearest code. Nouns."""

SINKHORN_RELAXATIONS = (4.0, 10.0, 2.0, 6.0, 2.0)
"""Over-relaxation factors of the Sinkhorn iterations. Tuned for even masses on random
distances, not for scores."""

# --- Initialisation ---------------------------------------------------------------

NOISE = 0.88
"""Standard deviation of the input noise, in initial residuals. Nouns."""

LOW_RESIDUAL, LOW_RESIDUAL_EXPONENT = 0.5, 0.5
"""Below this unexplained share of variance the noise falls with this power of it. 17
cases, those of few directions."""

HIGH_RESIDUAL, HIGH_RESIDUAL_EXPONENT = 0.6, 2.0
"""Above this unexplained share of variance the noise grows with this power of it. 17
cases, those of few rows."""

MAX_NOISE_FACTOR = 1.6
"""Largest factor by which a high residual raises the noise. 17 cases."""

DISCARD_EXPONENT, MAX_DISCARD_SHARE = 1.5, 0.5
"""Power of the unexplained share, and largest factor, in the share of variance whose
principal components `embed_dim=None` discards. 17 cases."""

MAX_STRUCTURE_DISCARDED = 0.01
"""Share of all variance that k-means may explain of the discarded components beyond
what it explains of Gaussian ones. 17 cases, the sparse and the clustered ones."""

KMEANS_STAGES, KMEANS_FULL_STAGES = 10, 2
"""Numbers of components that progressive k-means clusters in, and how many of these
stages, the last, use all points. Nouns."""

KMEANS_ITERATIONS = 10
"""Lloyd iterations of each stage. Nouns."""

KMEANS_POINTS_PER_CLUSTER = 32
"""Points for each cluster in the stages that do not use all points. Nouns."""

POINTS_PER_CODE = 256
"""Residuals for each code of a level that k-means clusters at most. Nouns."""

PLAUSIBLE_ERROR = 2.0
"""Largest squared error of a beam that k-means still learns from, in what the row's
would be had the row been left out. 17 cases, those of clusters far apart."""

# --- Dead codes and shared IDs ----------------------------------------------------

IDLE_ROWS_PER_CODE = 16
"""Rows, for each code of a level, without use of a code before it is restarted. 17
cases, those of few rows for each code."""

MIN_ROWS_PER_CODE = 3
"""Fitted rows for each code in use, below which no code is restarted. 17 cases."""

SEPARATION_BUDGET = 0.01
"""Relative increase of the rows' error that `separate_ids="auto"` spends. Nouns."""

# --- Shortlist of candidates -------------------------------------------------------

SHORTLIST_UNITS = 1024
"""Hidden units of the narrow decoder that estimates the errors of candidates. It is
used where the decoder is more than twice as wide. 12 000 nouns: alone, 512, 1024 and
2048 units lose 0.009, 0.006 and 0.004 of the explained variance of unseen rows."""

SHORTLIST_MARGIN = 0.8
"""Margin above the lowest estimate within which candidates are decoded exactly, in
standard deviations of the errors of estimates. 12 000 nouns: explained variance is
0.001 below that of `rerank="exact"`, for a sixth of the time; digits: 0.002."""
