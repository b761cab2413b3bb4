"""Place recognition: global descriptors, their index, and the gates and sequences between a search and a candidate."""

from vloc_ros.retrieval.coarse_to_fine import CoarseToFineSettings, FineReranker, fine_stage
from vloc_ros.retrieval.contract import (
    GlobalDescriptor,
    Needs,
    View,
    create_descriptor,
    descriptors,
    register,
    register_file,
    register_with_assets,
    takes_assets,
)
from vloc_ros.retrieval.gates import Background, GateReason, Gates, GateSettings, Moment, Refusal
from vloc_ros.retrieval.index import DescriptorIndex, IndexSettings, Neighbours
from vloc_ros.retrieval.index_file import load_index, save_index
from vloc_ros.retrieval.rerank import (
    Doubt,
    Reranked,
    Reranker,
    RerankSettings,
    Storage,
    Verification,
    create_reranker,
    rerankers,
)
from vloc_ros.retrieval.sequence import BayesFilter, BayesSettings, TrajectorySearch, TrajectorySettings
from vloc_ros.retrieval.vocabulary import Vocabulary

# Importing a descriptor registers it.
from vloc_ros.retrieval.hog import Hog  # isort: skip
from vloc_ros.retrieval.disam import Disam, Inference  # isort: skip
from vloc_ros.retrieval.glvl import Glvl  # isort: skip
from vloc_ros.retrieval.thumbnail import Thumbnail  # isort: skip
from vloc_ros.retrieval.vlad import Vlad  # isort: skip
from vloc_ros.retrieval.describing import VOCABULARY_IMAGES, Describer, describer_for, learn_vocabulary  # isort: skip
from vloc_ros.retrieval import cct, gem, netvlad, uncertainty, vit, weights_file  # isort: skip
from vloc_ros.retrieval import rerank_homography, rerank_ransac  # isort: skip

__all__ = [
    "VOCABULARY_IMAGES",
    "Background",
    "BayesFilter",
    "BayesSettings",
    "CoarseToFineSettings",
    "Describer",
    "DescriptorIndex",
    "Disam",
    "Doubt",
    "FineReranker",
    "GateReason",
    "GateSettings",
    "Gates",
    "GlobalDescriptor",
    "Glvl",
    "Hog",
    "IndexSettings",
    "Inference",
    "Moment",
    "Needs",
    "Neighbours",
    "Refusal",
    "RerankSettings",
    "Reranked",
    "Reranker",
    "Storage",
    "Thumbnail",
    "TrajectorySearch",
    "TrajectorySettings",
    "Verification",
    "View",
    "Vlad",
    "Vocabulary",
    "cct",
    "create_descriptor",
    "create_reranker",
    "describer_for",
    "descriptors",
    "fine_stage",
    "gem",
    "learn_vocabulary",
    "load_index",
    "netvlad",
    "register",
    "register_file",
    "register_with_assets",
    "rerank_homography",
    "rerank_ransac",
    "rerankers",
    "save_index",
    "takes_assets",
    "uncertainty",
    "vit",
    "weights_file",
]
