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
    /// aborted as well where it is not rejected, but more than half of its votes do not accept one and the same
    /// candidate.
    /// @param releaseThreshold Hospitals whose releases open an aggregate, at least 2; 0: two thirds of the roster at a
    /// round's opening, rounded down, and one more.
    /// @param submissionDuration Seconds from the opening block in which updates are taken.
    /// @param votingDuration Seconds from the closing block in which votes and attestations are taken.
    /// @param witnessRequired Whether a round is accepted only if a witness has attested to its aggregate.
    struct Rules {
        uint8 minIncluded;
        uint8 rejectQuorum;
        uint8 minVotes;
        uint8 releaseThreshold;
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
    /// @param contextFingerprint The channel key that releases of this round are encrypted under.
    /// @param updateRoot Merkle root of the hashes of the update's chunks.
    /// @param updateBytes Total length of the chunks.
    /// @param sharesRoot Merkle root of the hashes of the sealed key shares, in the order of the round's roster.
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
        bytes32 sharesRoot;
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
    /// @param countsHash Hash of this hospital's counts on its own images; zero: none are given.
    /// @param evidenceHash Hash of the reports behind the verdict, which stay at the hospital.
    struct Vote {
        uint32 round;
        address hospital;
        bytes32 aggregateHash;
        bool accept;
        bytes32 candidateDigest;
        bytes32 countsHash;
        bytes32 evidenceHash;
    }

    /// @notice All that later rules read about a round. Masks have bit i set for place i on the roster.
    /// @param phase Where it stands.
    /// @param rejectQuorum Rejecting votes that reject it, fixed at its opening.
    /// @param minVotes Votes without which it is aborted, fixed at its opening.
    /// @param threshold Hospitals whose releases open its aggregate, fixed at its opening.
    /// @param accepts Votes for it so far, whatever candidate they name.
    /// @param agreeing Most of them that name one and the same candidate.
    /// @param rejects Votes against it so far.
    /// @param witnesses Attestations so far; stays at 255 from there on.
    /// @param submissionDeadline Last second, Unix time, in which updates are taken.
    /// @param votingDeadline Last second, Unix time, in which votes and attestations are taken; 0 before voting.
    /// @param enrolledTotal Sum of the weights of all who take part.
    /// @param includedWeight Sum of the weights of those in the aggregate.
    /// @param rosterMask Who takes part.
    /// @param submittedMask Who submitted.
    /// @param includedMask Who is in the aggregate.
    /// @param votedMask Who voted.
    /// @param openingHead The ledger head right after its opening, which commitments name.
    /// @param baseId The model that training starts from.
    /// @param contextFingerprint The channel key that its releases are encrypted under.
    /// @param aggregateHash Merkle root of the hashes of the aggregate's chunks; 0 before voting.
    /// @param candidateDigest The candidate that `agreeing` votes name, the first of several; 0 before the first of them.
    struct Round {
        Phase phase;
        uint8 rejectQuorum;
        uint8 minVotes;
        uint8 threshold;
        uint8 accepts;
        uint8 agreeing;
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
        bytes32 candidateDigest;
    }

    /// @notice The ledger was deployed; the first event of every history.
    /// @param chainId The chain that it was deployed on.
    /// @param ledger The contract's own address.
    /// @param settingsDigest Digest of the settings that carry guarantees.
    /// @param initialModelDigest Digest of the weights that the first round starts from.
    /// @param rules The rules of every round.
    /// @param ledgerHead Hash over all events up to and with this one.
    event LedgerCreated(
        uint256 chainId, address ledger, bytes32 settingsDigest, bytes32 initialModelDigest, Rules rules, bytes32 ledgerHead
    );

    /// @notice An account got a role.
    /// @param role Hash of the role's name; zero: the admin.
    /// @param account Who has it from now on.
    /// @param ledgerHead Hash over all events up to and with this one.
    event RoleAssigned(bytes32 indexed role, address indexed account, bytes32 ledgerHead);

    /// @notice An account lost a role, or gave it up.
    /// @param role Hash of the role's name; zero: the admin.
    /// @param account Who no longer has it.
    /// @param ledgerHead Hash over all events up to and with this one.
    event RoleRemoved(bytes32 indexed role, address indexed account, bytes32 ledgerHead);

    /// @notice A hospital joined the roster.
    /// @param hospital Its Ethereum address.
    /// @param index Its place on the roster, from 0, for good.
    /// @param weight Its enrolled number of examples.
    /// @param x25519Key The public key that consortium keys are sealed to.
    /// @param ledgerHead Hash over all events up to and with this one.
    event HospitalRegistered(
        address indexed hospital, uint8 index, uint32 weight, bytes32 x25519Key, bytes32 ledgerHead
    );

    /// @notice A hospital left the roster for good, and with it the key that it knows.
    /// @param hospital Its Ethereum address.
    /// @param index Its place, which stays empty.
    /// @param keyEpoch The key epoch that begins, without a key yet.
    /// @param ledgerHead Hash over all events up to and with this one.
    event HospitalRevoked(address indexed hospital, uint8 index, uint32 keyEpoch, bytes32 ledgerHead);

    /// @notice A hospital replaced its sealing key.
    /// @param hospital Its Ethereum address.
    /// @param x25519Key The new public key.
    /// @param ledgerHead Hash over all events up to and with this one.
    event KeyRotated(address indexed hospital, bytes32 x25519Key, bytes32 ledgerHead);

    /// @notice A hospital was named to make the consortium's keys.
    /// @param hospital Its Ethereum address.
    /// @param ledgerHead Hash over all events up to and with this one.
    event DealerNamed(address indexed hospital, bytes32 ledgerHead);

    /// @notice A key epoch began, without a key yet: the last one's was given up, or a hospital joined that must not have
    /// it. (A revocation tells its new epoch itself.)
    /// @param keyEpoch The epoch that begins.
    /// @param startedBy The registrar or dealer who gave the old key up, or who registered the hospital.
    /// @param ledgerHead Hash over all events up to and with this one.
    event KeyEpochStarted(uint32 indexed keyEpoch, address indexed startedBy, bytes32 ledgerHead);

    /// @notice The dealer named the channel key of an epoch.
    /// @param keyEpoch The epoch, from 1.
    /// @param contextFingerprint Fingerprint of the channel key.
    /// @param ledgerHead Hash over all events up to and with this one.
    event ContextSet(uint32 indexed keyEpoch, bytes32 contextFingerprint, bytes32 ledgerHead);

    /// @notice A round opened; hospitals sign the head that this event leaves.
    /// @param round Its number: one more than the last.
    /// @param baseId The model that training starts from.
    /// @param contextFingerprint The channel key that its releases are encrypted under.
    /// @param rosterMask Who takes part: bit i for place i on the roster.
    /// @param enrolledTotal Sum of their enrolled weights.
    /// @param submissionDeadline Last second, Unix time, in which updates are taken.
    /// @param rejectQuorum Rejecting votes that reject this round.
    /// @param minVotes Votes without which this round is aborted.
    /// @param threshold Hospitals whose releases open this round's aggregate.
    /// @param ledgerHead Hash over all events up to and with this one.
    event RoundOpened(
        uint32 indexed round,
        bytes32 baseId,
        bytes32 contextFingerprint,
        uint128 rosterMask,
        uint40 enrolledTotal,
        uint40 submissionDeadline,
        uint8 rejectQuorum,
        uint8 minVotes,
        uint8 threshold,
        bytes32 ledgerHead
    );

    /// @notice A hospital's signed commitment was accepted.
    /// @param round The open round.
    /// @param hospital Who committed.
    /// @param updateRoot Merkle root of the hashes of the update's chunks.
    /// @param updateBytes Total length of the chunks.
    /// @param sharesRoot Merkle root of the hashes of the sealed key shares, in the order of the round's roster.
    /// @param weight The hospital's enrolled weight.
    /// @param privacy The privacy event that it declares.
    /// @param ledgerHead Hash over all events up to and with this one.
    event UpdateCommitted(
        uint32 indexed round,
        address indexed hospital,
        bytes32 updateRoot,
        uint64 updateBytes,
        bytes32 sharesRoot,
        uint32 weight,
        PrivacyEvent privacy,
        bytes32 ledgerHead
    );

    /// @notice The aggregate was recorded, and voting began.
    /// @param round The round that is voted on from now.
    /// @param aggregateHash Merkle root of the hashes of the aggregate's chunks.
    /// @param includedMask Whose updates were added: bit i for place i on the roster.
    /// @param includedWeight Sum of their enrolled weights.
    /// @param exclusions Every other submission, with its reason.
    /// @param votingDeadline Last second, Unix time, in which votes and attestations are taken.
    /// @param ledgerHead Hash over all events up to and with this one.
    event SubmissionsClosed(
        uint32 indexed round,
        bytes32 aggregateHash,
        uint128 includedMask,
        uint40 includedWeight,
        Exclusion[] exclusions,
        uint40 votingDeadline,
        bytes32 ledgerHead
    );

    /// @notice A hospital's vote was counted.
    /// @param round The round that it judges.
    /// @param hospital Who voted.
    /// @param accept The verdict.
    /// @param candidateDigest Hash of the candidate's weights as this hospital decrypted them.
    /// @param countsHash Hash of the hospital's counts on its own images; zero: none are given.
    /// @param evidenceHash Hash of the reports behind the verdict.
    /// @param ledgerHead Hash over all events up to and with this one.
    event VoteCast(
        uint32 indexed round,
        address indexed hospital,
        bool accept,
        bytes32 candidateDigest,
        bytes32 countsHash,
        bytes32 evidenceHash,
        bytes32 ledgerHead
    );

    /// @notice A witness attested to the aggregate.
    /// @param round The round that is voted on.
    /// @param witness Who added the included updates again.
    /// @param aggregateHash The aggregate that came out, the round's own.
    /// @param ledgerHead Hash over all events up to and with this one.
    event RoundWitnessed(uint32 indexed round, address indexed witness, bytes32 aggregateHash, bytes32 ledgerHead);

    /// @notice A round ended, and its aggregate is part of the base of the next.
    /// @param round The round's number.
    /// @param accepts Votes for it, whatever candidate they name.
    /// @param rejects Votes against it.
    /// @param candidateDigest The candidate that more than half of all votes accept.
    /// @param baseId The model that the next round starts from.
    /// @param ledgerHead Hash over all events up to and with this one.
    event RoundAccepted(
        uint32 indexed round, uint8 accepts, uint8 rejects, bytes32 candidateDigest, bytes32 baseId, bytes32 ledgerHead
    );

    /// @notice A round ended by enough votes against it; the base stays.
    /// @param round The round's number.
    /// @param accepts Votes for it.
    /// @param rejects Votes against it.
    /// @param ledgerHead Hash over all events up to and with this one.
    event RoundRejected(uint32 indexed round, uint8 accepts, uint8 rejects, bytes32 ledgerHead);

    /// @notice A round ended without an outcome; the base stays.
    /// @param round The round's number.
    /// @param reason TooFewVotes, NoMajority, DigestsDiffer or NotWitnessed, or what whoever gave it up says; ASCII,
    /// padded with zeros.
    /// @param ledgerHead Hash over all events up to and with this one.
    event RoundAborted(uint32 indexed round, bytes32 reason, bytes32 ledgerHead);

    /// @notice A rule given at deployment can never be met.
    /// @param rule The rule's name.
    /// @param value What was given.
    error RuleOutOfRange(bytes32 rule, uint256 value);

    /// @notice A field that must carry something is zero.
    /// @param field The field's name.
    error ZeroValue(bytes32 field);

    /// @notice This hospital is on the roster or once was.
    /// @param hospital Its Ethereum address.
    error AlreadyRegistered(address hospital);

    /// @notice Every place on the roster is taken.
    /// @param limit Places on the roster, revoked ones included.
    error RosterFull(uint256 limit);

    /// @notice This account is no active hospital, or none of this round.
    /// @param account Its Ethereum address.
    error NotOnRoster(address account);

    /// @notice There is a dealer, and there is one at a time.
    /// @param dealer Its Ethereum address.
    error DealerAlreadyNamed(address dealer);

    /// @notice Only the dealer may name a key.
    /// @param caller Who tried.
    /// @param dealer Who the dealer is; zero: nobody yet.
    error NotDealer(address caller, address dealer);

    /// @notice This key epoch has its key.
    /// @param keyEpoch The epoch.
    /// @param contextFingerprint Its key's fingerprint.
    error ContextAlreadySet(uint32 keyEpoch, bytes32 contextFingerprint);

    /// @notice This key was named before, maybe in an epoch whose members know it still.
    /// @param contextFingerprint Its fingerprint.
    error ContextAlreadyUsed(bytes32 contextFingerprint);

    /// @notice The epoch has no key: none to open a round under, and none to give up.
    /// @param keyEpoch The epoch.
    error ContextNotSet(uint32 keyEpoch);

    /// @notice Roster, keys and witnesses stand still while a round runs.
    /// @param round The round that runs.
    error RoundInProgress(uint32 round);

    /// @notice There are fewer active hospitals than an aggregate must include.
    /// @param active Active hospitals.
    /// @param required Fewest that are needed.
    error RosterTooSmall(uint256 active, uint256 required);

    /// @notice A quorum or the release threshold of the rules is larger than the roster.
    /// @param quorum The quorum or threshold.
    /// @param active Active hospitals.
    error QuorumAboveRoster(uint256 quorum, uint256 active);

    /// @notice The round takes no updates: not opened yet, or closed.
    /// @param round The round's number.
    /// @param phase Where it stands.
    error RoundNotOpen(uint32 round, Phase phase);

    /// @notice The round takes no votes or attestations and has no outcome to find.
    /// @param round The round's number.
    /// @param phase Where it stands.
    error RoundNotVoting(uint32 round, Phase phase);

    /// @notice There is nothing to give up: the round is final, or was never opened.
    /// @param round The round's number.
    /// @param phase Where it stands.
    error RoundAlreadyFinal(uint32 round, Phase phase);

    /// @notice The update comes too late.
    /// @param round The round's number.
    /// @param deadline Last second in which updates were taken.
    /// @param timestamp The block's time.
    error SubmissionDeadlinePassed(uint32 round, uint256 deadline, uint256 timestamp);

    /// @notice Somebody may still submit.
    /// @param round The round's number.
    /// @param deadline Last second in which updates are taken.
    /// @param timestamp The block's time.
    error SubmissionsStillOpen(uint32 round, uint256 deadline, uint256 timestamp);

    /// @notice The vote or attestation comes too late.
    /// @param round The round's number.
    /// @param deadline Last second in which they were taken.
    /// @param timestamp The block's time.
    error VotingDeadlinePassed(uint32 round, uint256 deadline, uint256 timestamp);

    /// @notice Votes that may still come could change the outcome.
    /// @param round The round's number.
    /// @param deadline Last second in which votes are taken.
    /// @param timestamp The block's time.
    error OutcomeStillOpen(uint32 round, uint256 deadline, uint256 timestamp);

    /// @notice The signature, or the sender of a direct call, is not the hospital's.
    /// @param hospital Whose it should be.
    /// @param signer Whose it is; zero: not a signature at all.
    error WrongSigner(address hospital, address signer);

    /// @notice The commitment was signed on another history.
    /// @param expected The head right after the round's opening.
    /// @param given The head that was signed.
    error WrongLedgerHead(bytes32 expected, bytes32 given);

    /// @notice The update was trained from another model.
    /// @param expected The round's base.
    /// @param given The base that was signed.
    error WrongBase(bytes32 expected, bytes32 given);

    /// @notice The update was made for another channel key.
    /// @param expected The round's key.
    /// @param given The key that was signed.
    error WrongContext(bytes32 expected, bytes32 given);

    /// @notice The hospital signed another weight than it was enrolled with.
    /// @param expected The enrolled weight.
    /// @param given The weight that was signed.
    error WrongWeight(uint32 expected, uint32 given);

    /// @notice No such privacy mode or unit.
    /// @param mode The mode, at most 2.
    /// @param unit The unit, at most 3.
    error UnknownPrivacyCode(uint8 mode, uint8 unit);

    /// @notice A hospital submits once a round.
    /// @param round The round's number.
    /// @param hospital Who submitted before.
    error AlreadySubmitted(uint32 round, address hospital);

    /// @notice The root was recorded before, as an update's or as an aggregate's.
    /// @param hash The root.
    /// @param round Where it was recorded.
    error HashAlreadyUsed(bytes32 hash, uint32 round);

    /// @notice The aggregate names an update that nobody committed to.
    /// @param includedMask Who is said to be in it.
    /// @param submittedMask Who submitted.
    error IncludedNotSubmitted(uint128 includedMask, uint128 submittedMask);

    /// @notice So small an aggregate would show single updates.
    /// @param included Updates in it.
    /// @param required Fewest that are allowed.
    error TooFewIncluded(uint256 included, uint256 required);

    /// @notice An exclusion is named twice, without a reason, or is not an excluded submission.
    /// @param index The place on the roster.
    /// @param reason The reason given.
    error InvalidExclusion(uint8 index, bytes32 reason);

    /// @notice Every submission that is not included must be named.
    /// @param expectedMask Who must be named.
    /// @param namedMask Who is named.
    error ExclusionsMissing(uint128 expectedMask, uint128 namedMask);

    /// @notice The vote or attestation is about another aggregate.
    /// @param expected The round's aggregate.
    /// @param given The aggregate that was named.
    error WrongAggregate(bytes32 expected, bytes32 given);

    /// @notice A hospital votes once a round.
    /// @param round The round's number.
    /// @param hospital Who voted before.
    error AlreadyVoted(uint32 round, address hospital);

    /// @notice A witness attests once a round.
    /// @param round The round's number.
    /// @param witness Who attested before.
    error AlreadyWitnessed(uint32 round, address witness);

    /// @notice The votes carry the round, but no witness has attested to its aggregate yet.
    /// @param round The round's number.
    /// @param deadline Last second in which an attestation is taken.
    /// @param timestamp The block's time.
    error WitnessMissing(uint32 round, uint256 deadline, uint256 timestamp);
}
