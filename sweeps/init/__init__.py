"""`dskd-bench init`: from a folder of pictures to an experiment's file."""
