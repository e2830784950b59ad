"""Why a packet was not passed on: every drop has a reason and is counted."""

from __future__ import annotations

from enum import Enum


class Drop(str, Enum):
    """Reason a packet or datagram was dropped. The value is the name shown in stats."""

    # at the port
    EMPTY = "empty"
    TOO_LONG = "too_long"
    UNKNOWN_PROTOCOL = "unknown_protocol"
    UNKNOWN_SOURCE = "unknown_source"
    BAD_STUN = "bad_stun"
    UNKNOWN_UFRAG = "unknown_ufrag"
    BAD_INTEGRITY = "bad_integrity"
    BAD_CANDIDATE = "bad_candidate"
    DTLS_QUEUE_FULL = "dtls_queue_full"
    NOT_CONNECTED = "not_connected"
    SRTP_AUTH = "srtp_auth"
    SRTP_REPLAY = "srtp_replay"
    # inside the room
    BAD_RTP = "bad_rtp"
    BAD_RTCP = "bad_rtcp"
    UNKNOWN_SSRC = "unknown_ssrc"
    UNKNOWN_PAYLOAD_TYPE = "unknown_payload_type"
    DUPLICATE = "duplicate"
    TOO_OLD = "too_old"
    BAD_PAYLOAD = "bad_payload"
    PADDING = "padding"
    # through the tunnel, in frames
    BAD_MEDIA = "bad_media"
    UNKNOWN_MID = "unknown_mid"
    OTHER_WAY = "other_way"  # RTP by UDP while the tunnel is open
    TUNNEL_BEHIND = "tunnel_behind"
    TUNNEL_STALLED = "tunnel_stalled"
    TUNNEL_GAP = "tunnel_gap"  # a page's frame that never came
    INCOMPLETE = "incomplete"  # pictures for the page given up: packets never came, or were too many
    # on the way to a viewer
    TEMPORAL_LAYER = "temporal_layer"
    WAITING_FOR_KEYFRAME = "waiting_for_keyframe"
    BEFORE_SPLICE = "before_splice"
    CODEC_NOT_SUPPORTED = "codec_not_supported"
    PAUSED = "paused"
    SOCKET_FULL = "socket_full"
    SEND_ERROR = "send_error"
    # retransmissions asked for and not given
    RTX_UNKNOWN = "rtx_unknown"
    RTX_TOO_OLD = "rtx_too_old"
    RTX_TOO_SOON = "rtx_too_soon"
    RTX_TOO_OFTEN = "rtx_too_often"


class Drops(dict[Drop, int]):
    """A count of packets for each reason seen; an unseen reason reads 0."""

    def __missing__(self, reason: Drop) -> int:
        return 0

    def add(self, reason: Drop, count: int = 1) -> None:
        """Count `count` packets dropped for `reason`."""
        self[reason] = self[reason] + count
