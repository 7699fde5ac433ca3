"""scikit-learn's interface: estimators for pipelines, grid search and cross-validation.

They need scikit-learn (``pip install 'hotloop[sklearn]'``) and are imported on first use, as
``hl.Perceptron`` and so on: importing hotloop alone does not import scikit-learn.
"""

from hotloop.extras import require

require("sklearn", "sklearn", "hotloop.estimators")
