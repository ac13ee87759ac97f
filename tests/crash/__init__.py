"""Power loss and failing disks."""
