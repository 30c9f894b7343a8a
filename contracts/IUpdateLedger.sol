// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What the update ledger records, refuses and tells
/// @notice Types, events and errors of `UpdateLedger`. Every event's last field is the running ledger head:
/// keccak256(previous head, event selector, abi.encode(all other fields in order)), from zero. So the events alone
/// recompute the head, and one head fixes the whole history before it.
interface IUpdateLedger {
    /// @notice Where a round stands; it only ever moves to the right, and Accepted, Rejected and Aborted are final.
    enum Phase {
        None,
        Open,
        Voting,
        Accepted,
        Rejected,
        Aborted
    }

    /// @notice The rules of every round, fixed at deployment.
    /// @param minIncluded Fewest updates in an aggregate, at least 2: fewer would show single ones.
    /// @param rejectQuorum Rejecting votes that reject a round; 0: more than half of the roster at its opening.
    /// @param minVotes Votes without which a round is aborted; 0: more than half of the roster at its opening. It is
    /// aborted as well where not rejected, but without more accepting than rejecting votes.
    /// @param submissionDuration Seconds from the opening block in which updates are taken.
    /// @param votingDuration Seconds from the closing block in which votes and attestations are taken.
    /// @param witnessRequired Whether a round is accepted only if a witness has attested to its aggregate.
    struct Rules {
        uint8 minIncluded;
        uint8 rejectQuorum;
        uint8 minVotes;
        uint32 submissionDuration;
        uint32 votingDuration;
        bool witnessRequired;
    }

    /// @notice A hospital on the roster; its place there never changes.
    /// @param account Its Ethereum address.
    /// @param weight Its enrolled number of examples.
    /// @param active False once revoked.
    struct Member {
        address account;
        uint32 weight;
        bool active;
    }

    /// @notice One release as declared by a hospital. Decimal numbers are in units of 1e-30.
    /// @param mode 0 none, 1 update, 2 sample.
    /// @param unit Whom the guarantee protects: 0 none, 1 hospital, 2 patient, 3 image.
    /// @param samplingRate Share of units in a step.
    /// @param noiseMultiplier Standard deviation of the noise over the clip norm.
    /// @param steps Number of noisy steps.
    /// @param clipNorm L2 bound on one unit's contribution.
    /// @param delta The delta for which epsilon is stated.
    struct PrivacyEvent {
        uint8 mode;
        uint8 unit;
        uint128 samplingRate;
        uint128 noiseMultiplier;
        uint32 steps;
        uint128 clipNorm;
        uint128 delta;
    }

    /// @notice What a hospital signs (EIP-712) about its encrypted update.
    /// @param round The round it is meant for.
    /// @param hospital Who signs.
    /// @param ledgerHead The ledger head right after that round's opening.
    /// @param baseId The model that training started from.
    /// @param contextFingerprint The key that the update is encrypted under.
    /// @param updateRoot Merkle root of the hashes of the update's chunks.
    /// @param updateBytes Total length of the chunks.
    /// @param weight The hospital's enrolled weight.
    /// @param privacy The declared privacy event.
    struct Commitment {
        uint32 round;
        address hospital;
        bytes32 ledgerHead;
        bytes32 baseId;
        bytes32 contextFingerprint;
        bytes32 updateRoot;
        uint64 updateBytes;
        uint32 weight;
        PrivacyEvent privacy;
    }

    /// @notice A submitted update that is not in the aggregate.
    /// @param index The hospital's place on the roster.
    /// @param reason A short name in ASCII, padded with zeros.
    struct Exclusion {
        uint8 index;
        bytes32 reason;
    }

    /// @notice What a hospital signs (EIP-712) about a candidate model.
    /// @param round The round that it came from.
    /// @param hospital Who signs.
    /// @param aggregateHash The aggregate that it came from.
    /// @param accept The verdict.
    /// @param candidateDigest Hash of the candidate's weights as this hospital decrypted them.
    /// @param evidenceHash Hash of the reports behind the verdict, which stay at the hospital.
    struct Vote {
        uint32 round;
        address hospital;
        bytes32 aggregateHash;
        bool accept;
        bytes32 candidateDigest;
        bytes32 evidenceHash;
    }

    /// @notice All that later rules read about a round. Masks have bit i set for place i on the roster.
    struct Round {
        Phase phase;
        uint8 rejectQuorum;
        uint8 minVotes;
        uint8 accepts;
        uint8 rejects;
        uint8 witnesses;
        uint40 submissionDeadline;
        uint40 votingDeadline;
        uint40 enrolledTotal;
        uint40 includedWeight;
        uint128 rosterMask;
        uint128 submittedMask;
        uint128 includedMask;
        uint128 votedMask;
        bytes32 openingHead;
        bytes32 baseId;
        bytes32 contextFingerprint;
        bytes32 aggregateHash;
    }

    event LedgerCreated(
        uint256 chainId, address ledger, bytes32 settingsDigest, bytes32 initialModelDigest, Rules rules, bytes32 ledgerHead
    );
    event RoleAssigned(bytes32 indexed role, address indexed account, bytes32 ledgerHead);
    event RoleRemoved(bytes32 indexed role, address indexed account, bytes32 ledgerHead);
    event HospitalRegistered(
        address indexed hospital, uint8 index, uint32 weight, bytes32 x25519Key, bytes32 ledgerHead
    );
    event HospitalRevoked(address indexed hospital, uint8 index, uint32 keyEpoch, bytes32 ledgerHead);
    event KeyRotated(address indexed hospital, bytes32 x25519Key, bytes32 ledgerHead);
    event DealerNamed(address indexed hospital, bytes32 ledgerHead);
    event ContextSet(uint32 indexed keyEpoch, bytes32 contextFingerprint, bytes32 ledgerHead);
    event RoundOpened(
        uint32 indexed round,
        bytes32 baseId,
        bytes32 contextFingerprint,
        uint128 rosterMask,
        uint40 enrolledTotal,
        uint40 submissionDeadline,
        uint8 rejectQuorum,
        uint8 minVotes,
        bytes32 ledgerHead
    );
    event UpdateCommitted(
        uint32 indexed round,
        address indexed hospital,
        bytes32 updateRoot,
        uint64 updateBytes,
        uint32 weight,
        PrivacyEvent privacy,
        bytes32 ledgerHead
    );
    event SubmissionsClosed(
        uint32 indexed round,
        bytes32 aggregateHash,
        uint128 includedMask,
        uint40 includedWeight,
        Exclusion[] exclusions,
        uint40 votingDeadline,
        bytes32 ledgerHead
    );
    event VoteCast(
        uint32 indexed round,
        address indexed hospital,
        bool accept,
        bytes32 candidateDigest,
        bytes32 evidenceHash,
        bytes32 ledgerHead
    );
    event RoundWitnessed(uint32 indexed round, address indexed witness, bytes32 aggregateHash, bytes32 ledgerHead);
    event RoundAccepted(uint32 indexed round, uint8 accepts, uint8 rejects, bytes32 baseId, bytes32 ledgerHead);
    event RoundRejected(uint32 indexed round, uint8 accepts, uint8 rejects, bytes32 ledgerHead);
    event RoundAborted(uint32 indexed round, bytes32 reason, bytes32 ledgerHead);

    /// @dev A rule given at deployment can never be met.
    error RuleOutOfRange(bytes32 rule, uint256 value);
    /// @dev A field that must carry something is zero.
    error ZeroValue(bytes32 field);
    error AlreadyRegistered(address hospital);
    error RosterFull(uint256 limit);
    error NotOnRoster(address account);
    error DealerAlreadyNamed(address dealer);
    error NotDealer(address caller, address dealer);
    error ContextAlreadySet(uint32 keyEpoch, bytes32 contextFingerprint);
    error ContextAlreadyUsed(bytes32 contextFingerprint);
    error ContextNotSet(uint32 keyEpoch);
    /// @dev Roster and keys stand still while a round runs.
    error RoundInProgress(uint32 round);
    error RosterTooSmall(uint256 active, uint256 required);
    error QuorumAboveRoster(uint256 quorum, uint256 active);
    error RoundNotOpen(uint32 round, Phase phase);
    error RoundNotVoting(uint32 round, Phase phase);
    error RoundAlreadyFinal(uint32 round, Phase phase);
    error SubmissionDeadlinePassed(uint32 round, uint256 deadline, uint256 timestamp);
    error SubmissionsStillOpen(uint32 round, uint256 deadline, uint256 timestamp);
    error VotingDeadlinePassed(uint32 round, uint256 deadline, uint256 timestamp);
    error OutcomeStillOpen(uint32 round, uint256 deadline, uint256 timestamp);
    /// @dev The signature, or the sender of a direct call, is not the hospital's; signer 0: not a signature at all.
    error WrongSigner(address hospital, address signer);
    error WrongLedgerHead(bytes32 expected, bytes32 given);
    error WrongBase(bytes32 expected, bytes32 given);
    error WrongContext(bytes32 expected, bytes32 given);
    error WrongWeight(uint32 expected, uint32 given);
    error UnknownPrivacyCode(uint8 mode, uint8 unit);
    error AlreadySubmitted(uint32 round, address hospital);
    /// @dev The root was recorded before, as an update's or as an aggregate's.
    error HashAlreadyUsed(bytes32 hash, uint32 round);
    error IncludedNotSubmitted(uint128 includedMask, uint128 submittedMask);
    error TooFewIncluded(uint256 included, uint256 required);
    /// @dev Named twice, without a reason, or not an excluded submission.
    error InvalidExclusion(uint8 index, bytes32 reason);
    /// @dev Every submission that is not included must be named.
    error ExclusionsMissing(uint128 expectedMask, uint128 namedMask);
    error WrongAggregate(bytes32 expected, bytes32 given);
    error AlreadyVoted(uint32 round, address hospital);
    error AlreadyWitnessed(uint32 round, address witness);
    /// @dev The votes carry the round, but no witness has attested to its aggregate yet.
    error WitnessMissing(uint32 round, uint256 deadline, uint256 timestamp);
}
