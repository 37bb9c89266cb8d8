"""How a stream is let in: its header is checked in a read; where a quota holds, space is reserved, too."""

from ingot.server.core.identity import Caller
from ingot.server.core.names import UploadName
from ingot.server.domain.chunk_intake import ChunkIntake, StreamTicket
from ingot.server.rpc.hops import Hops


async def admitted(
    hops: Hops, intake: ChunkIntake, caller: Caller, name: UploadName, chunks: int, size: int
) -> StreamTicket:
    """Return the ticket of a stream; `intake.release` it at its end, however that comes.

    Raises as ChunkIntake.admit and ChunkIntake.reserve.
    """
    ticket = await hops.read(intake.admit, caller, name, chunks, size)
    if ticket.reservation is not None:
        try:
            await hops.keep(intake.reserve, caller, ticket)
        except BaseException:  # a cancelled write may still be carried out: then it finds this released
            intake.release(ticket)
            raise
    return ticket
