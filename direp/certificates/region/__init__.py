"""Does the local rule descend for a whole box of networks and inputs?"""

from .box import Box
from .point import inner_product
from .region import Region, RegionPoint, certify_region

__all__ = ["Box", "Region", "RegionPoint", "certify_region", "inner_product"]
