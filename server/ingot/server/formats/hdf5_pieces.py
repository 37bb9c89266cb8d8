"""What `model_h5.py` and its process `hdf5_walk.py` agree on; only the process imports h5py."""

END = 2**64 - 1  # asked for as a place: no more questions, the answer follows
PIECE_MOST = 16 * 1024 * 1024  # bytes of one piece
