"""Does the local rule descend for a whole box of networks and inputs?"""

from .bounds import ASCENDS, DESCENDS, EDGE, FLAT, OPEN, Bounds, bounds
from .box import Box, vector
from .point import inner_product
from .region import Region, RegionPoint, certify_region
from .search import Search, Tree
from .states import ACTIVE, HIGH, LOW, Family, Forms

__all__ = [
    "ACTIVE", "ASCENDS", "DESCENDS", "EDGE", "FLAT", "HIGH", "LOW", "OPEN", "Bounds", "Box", "Family", "Forms",
    "Region", "RegionPoint", "Search", "Tree", "bounds", "certify_region", "inner_product", "vector",
]  # fmt: skip
