// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IUpdateLedger} from "./IUpdateLedger.sol";

/// @title The record of a federation: who committed to what, what was added, and how the hospitals judged it
/// @notice Rounds run Open -> Voting -> Accepted | Rejected | Aborted. No call loops over history; the only loops run
/// over the roster, of 128 places at most. What no rule reads lives in events only.
contract UpdateLedger is IUpdateLedger, AccessControl, EIP712 {
    /// @notice May register and revoke hospitals.
    bytes32 public constant REGISTRAR_ROLE = keccak256("REGISTRAR_ROLE");
    /// @notice May open, close and abort rounds.
    bytes32 public constant AGGREGATOR_ROLE = keccak256("AGGREGATOR_ROLE");
    /// @notice May attest that an aggregate is the sum of the updates that the ledger names.
    bytes32 public constant WITNESS_ROLE = keccak256("WITNESS_ROLE");
    /// @notice Places on the roster, revoked ones included.
    uint256 public constant MAX_ROSTER = 128;

    bytes32 private constant _PRIVACY_TYPEHASH = keccak256(
        "PrivacyEvent(uint8 mode,uint8 unit,uint128 samplingRate,uint128 noiseMultiplier,"
        "uint32 steps,uint128 clipNorm,uint128 delta)"
    );
    bytes32 private constant _COMMITMENT_TYPEHASH = keccak256(
        "Commitment(uint32 round,address hospital,bytes32 ledgerHead,bytes32 baseId,bytes32 contextFingerprint,"
        "bytes32 updateRoot,uint64 updateBytes,bytes32 sharesRoot,uint32 weight,PrivacyEvent privacy)"
        "PrivacyEvent(uint8 mode,uint8 unit,uint128 samplingRate,uint128 noiseMultiplier,"
        "uint32 steps,uint128 clipNorm,uint128 delta)"
    );
    bytes32 private constant _VOTE_TYPEHASH = keccak256(
        "Vote(uint32 round,address hospital,bytes32 aggregateHash,bool accept,"
        "bytes32 candidateDigest,bytes32 countsHash,bytes32 evidenceHash)"
    );
    bytes32 private constant _TOO_FEW_VOTES = "TooFewVotes";
    bytes32 private constant _NO_MAJORITY = "NoMajority";
    bytes32 private constant _DIGESTS_DIFFER = "DigestsDiffer";
    bytes32 private constant _NOT_WITNESSED = "NotWitnessed";

    /// @notice Digest of the settings that carry guarantees.
    bytes32 public immutable settingsDigest;
    /// @notice Digest of the weights that the first round starts from.
    bytes32 public immutable initialModelDigest;

    Rules private _rules;
    bytes32 private _ledgerHead;
    bytes32 private _baseId;
    bytes32 private _contextFingerprint;
    uint32 private _latestRound;
    uint32 private _keyEpoch = 1;
    uint40 private _enrolledTotal;
    uint128 private _activeMask;
    address private _dealer;
    Member[] private _members;
    mapping(address account => uint256 place) private _places; // index + 1; 0: not on the roster
    mapping(uint32 round => Round) private _rounds;
    mapping(bytes32 updateRoot => uint32 round) private _roundOfUpdate;
    mapping(bytes32 aggregateHash => uint32 round) private _roundOfAggregate;
    mapping(bytes32 contextFingerprint => bool used) private _contextUsed;
    mapping(uint32 round => mapping(address witness => bool attested)) private _attested;
    mapping(uint32 round => mapping(bytes32 candidateDigest => uint8 accepts)) private _acceptsOf;

    /// @notice Roster and keys may change only while no round runs.
    modifier betweenRounds() {
        _checkNoRound();
        _;
    }

    /// @notice The deployer becomes admin, registrar and aggregator; it may pass each on.
    /// @param settingsDigest_ Digest of the settings that carry guarantees.
    /// @param initialModelDigest_ Digest of the initial weights.
    /// @param rules_ The rules of every round.
    constructor(bytes32 settingsDigest_, bytes32 initialModelDigest_, Rules memory rules_)
        EIP712("Fedward UpdateLedger", "1")
    {
        _checkRule("minIncluded", rules_.minIncluded, 2, MAX_ROSTER);
        _checkRule("rejectQuorum", rules_.rejectQuorum, 0, MAX_ROSTER);
        _checkRule("minVotes", rules_.minVotes, 0, MAX_ROSTER);
        if (rules_.releaseThreshold != 0) _checkRule("releaseThreshold", rules_.releaseThreshold, 2, MAX_ROSTER);
        _checkRule("submissionDuration", rules_.submissionDuration, 1, type(uint32).max);
        _checkRule("votingDuration", rules_.votingDuration, 1, type(uint32).max);
        _checkNotZero("settingsDigest", settingsDigest_);
        _checkNotZero("initialModelDigest", initialModelDigest_);
        settingsDigest = settingsDigest_;
        initialModelDigest = initialModelDigest_;
        _rules = rules_;
        _baseId = keccak256(abi.encode(initialModelDigest_, settingsDigest_));
        bytes memory fields = abi.encode(block.chainid, address(this), settingsDigest_, initialModelDigest_, rules_);
        bytes32 head = _advance(LedgerCreated.selector, fields);
        emit LedgerCreated(block.chainid, address(this), settingsDigest_, initialModelDigest_, rules_, head);
        _grantRole(DEFAULT_ADMIN_ROLE, msg.sender);
        _grantRole(REGISTRAR_ROLE, msg.sender);
        _grantRole(AGGREGATOR_ROLE, msg.sender);
    }

    // ---- the roster and its key -----------------------------------------------------------------------------------

    /// @notice Put a hospital on the roster. Where the epoch has its key, a new epoch starts, with a key of its own: with
    /// the old one a newcomer could open the sums of rounds before it came.
    /// @param hospital Its Ethereum address, new to this ledger.
    /// @param weight Its number of examples.
    /// @param x25519Key The public key that channel keys and key shares are sealed to.
    /// @param asDealer Whether this hospital makes the channel keys; one hospital at a time.
    function register(address hospital, uint32 weight, bytes32 x25519Key, bool asDealer)
        external
        onlyRole(REGISTRAR_ROLE)
        betweenRounds
    {
        _checkNotZero("hospital", bytes32(uint256(uint160(hospital))));
        _checkNotZero("weight", bytes32(uint256(weight)));
        _checkNotZero("x25519Key", x25519Key);
        if (_places[hospital] != 0) revert AlreadyRegistered(hospital);
        uint256 index = _members.length;
        if (index == MAX_ROSTER) revert RosterFull(MAX_ROSTER);
        _members.push(Member({account: hospital, weight: weight, active: true}));
        _places[hospital] = index + 1;
        _activeMask |= _bit(index);
        _enrolledTotal += weight;
        bytes32 head = _advance(HospitalRegistered.selector, abi.encode(hospital, uint8(index), weight, x25519Key));
        emit HospitalRegistered(hospital, uint8(index), weight, x25519Key, head);
        if (asDealer) _nameDealer(hospital);
        if (_contextFingerprint != 0) _startKeyEpoch();
    }

    /// @notice Take a hospital off the roster and start a new key epoch, for it knows the old key.
    /// @param hospital Its Ethereum address; it can never come back.
    function revoke(address hospital) external onlyRole(REGISTRAR_ROLE) betweenRounds {
        uint256 index = _activeIndex(hospital, _activeMask);
        _members[index].active = false;
        _activeMask &= ~_bit(index);
        _enrolledTotal -= _members[index].weight;
        _discardKey();
        if (_dealer == hospital) _dealer = address(0);
        bytes32 head = _advance(HospitalRevoked.selector, abi.encode(hospital, uint8(index), _keyEpoch));
        emit HospitalRevoked(hospital, uint8(index), _keyEpoch, head);
    }

    /// @notice Registrar or dealer gives up the key of this epoch, because it is lost or somebody else has it.
    /// @dev No round opens until the dealer has named another. Whom to believe about a loss is for people to decide: a
    /// hospital that lost its copy, or fears for it, asks one of the two.
    function startKeyEpoch() external betweenRounds {
        if (msg.sender != _dealer) _checkRole(REGISTRAR_ROLE);
        if (_contextFingerprint == 0) revert ContextNotSet(_keyEpoch);
        _startKeyEpoch();
    }

    /// @notice Name a dealer after the last one was revoked.
    /// @param hospital An active hospital.
    function nameDealer(address hospital) external onlyRole(REGISTRAR_ROLE) betweenRounds {
        _activeIndex(hospital, _activeMask);
        _nameDealer(hospital);
    }

    /// @notice A hospital replaces its own sealing key.
    /// @param x25519Key The new public key.
    function rotateKey(bytes32 x25519Key) external betweenRounds {
        _activeIndex(msg.sender, _activeMask);
        _checkNotZero("x25519Key", x25519Key);
        emit KeyRotated(msg.sender, x25519Key, _advance(KeyRotated.selector, abi.encode(msg.sender, x25519Key)));
    }

    /// @notice The dealer, by its own transaction, names the key of this epoch; once an epoch, never the same twice.
    /// @param contextFingerprint Fingerprint of the channel key.
    function setContext(bytes32 contextFingerprint) external betweenRounds {
        if (msg.sender != _dealer) revert NotDealer(msg.sender, _dealer);
        if (_contextFingerprint != 0) revert ContextAlreadySet(_keyEpoch, _contextFingerprint);
        _checkNotZero("contextFingerprint", contextFingerprint);
        if (_contextUsed[contextFingerprint]) revert ContextAlreadyUsed(contextFingerprint);
        _contextUsed[contextFingerprint] = true;
        _contextFingerprint = contextFingerprint;
        bytes32 head = _advance(ContextSet.selector, abi.encode(_keyEpoch, contextFingerprint));
        emit ContextSet(_keyEpoch, contextFingerprint, head);
    }

    // ---- a round --------------------------------------------------------------------------------------------------

    /// @notice Open the next round on the roster, base and key of this moment.
    /// @return round Its number: one more than the last, from 1.
    function openRound() external onlyRole(AGGREGATOR_ROLE) returns (uint32 round) {
        return _open();
    }

    /// @notice A hospital commits to its update by its own transaction.
    /// @param commitment What it commits to.
    function submitUpdate(Commitment calldata commitment) external {
        if (msg.sender != commitment.hospital) revert WrongSigner(commitment.hospital, msg.sender);
        _submit(commitment);
    }

    /// @notice Anybody relays a hospital's signed commitment.
    /// @dev The first to commit to a root has it, whoever that is: of two hospitals with one ciphertext the contract
    /// cannot tell which made it, and to take both would count it twice. On a node with a public mempool a hospital of
    /// the round may therefore commit, ahead of another, to a root that it read there. That is not prevented but
    /// bounded and on record: it uses up the only submission of whoever does it, under its own signature, and leaves
    /// the other's place free, which encrypts again, so to a new root, and commits to that.
    /// @param commitment What the hospital commits to.
    /// @param signature Its EIP-712 signature: 65 bytes r, s, v.
    function submitUpdateFor(Commitment calldata commitment, bytes calldata signature) external {
        _checkSigner(commitment.hospital, _hashCommitment(commitment), signature);
        _submit(commitment);
    }

    /// @notice Record the aggregate, once all have submitted or the time is over.
    /// @param round The open round.
    /// @param aggregateHash Merkle root of the aggregate's chunk hashes, never recorded before, as an update's neither.
    /// @param includedMask Which submissions were added.
    /// @param exclusions Every other submission, with its reason.
    function closeSubmissions(uint32 round, bytes32 aggregateHash, uint128 includedMask, Exclusion[] calldata exclusions)
        external
        onlyRole(AGGREGATOR_ROLE)
    {
        Round storage closing = _rounds[round];
        if (closing.phase != Phase.Open) revert RoundNotOpen(round, closing.phase);
        uint128 submitted = closing.submittedMask;
        if (submitted != closing.rosterMask && block.timestamp <= closing.submissionDeadline) {
            revert SubmissionsStillOpen(round, closing.submissionDeadline, block.timestamp);
        }
        if (includedMask & ~submitted != 0) revert IncludedNotSubmitted(includedMask, submitted);
        uint256 included = _count(includedMask);
        if (included < _rules.minIncluded) revert TooFewIncluded(included, _rules.minIncluded);
        _checkExclusions(submitted & ~includedMask, exclusions);
        _checkNotZero("aggregateHash", aggregateHash);
        _checkUnused(aggregateHash);
        _roundOfAggregate[aggregateHash] = round;
        closing.phase = Phase.Voting;
        closing.aggregateHash = aggregateHash;
        closing.includedMask = includedMask;
        closing.includedWeight = _weightOf(includedMask);
        closing.votingDeadline = uint40(block.timestamp + _rules.votingDuration);
        _emitSubmissionsClosed(round, closing, exclusions);
    }

    /// @notice A hospital votes by its own transaction.
    /// @param vote Its verdict.
    function castVote(Vote calldata vote) external {
        if (msg.sender != vote.hospital) revert WrongSigner(vote.hospital, msg.sender);
        _cast(vote);
    }

    /// @notice Anybody relays a hospital's signed vote.
    /// @param vote Its verdict.
    /// @param signature Its EIP-712 signature: 65 bytes r, s, v.
    function castVoteFor(Vote calldata vote, bytes calldata signature) external {
        _checkSigner(vote.hospital, keccak256(abi.encode(_VOTE_TYPEHASH, vote)), signature);
        _cast(vote);
    }

    /// @notice A witness attests, by its own transaction, that it added the included updates and got this aggregate.
    /// @dev Witnesses come and go between rounds only, so who may attest is fixed by a round's opening head.
    /// @param round The round that is voted on.
    /// @param aggregateHash The aggregate that the witness's own sum has.
    function attest(uint32 round, bytes32 aggregateHash) external onlyRole(WITNESS_ROLE) {
        Round storage judged = _rounds[round];
        if (judged.phase != Phase.Voting) revert RoundNotVoting(round, judged.phase);
        if (block.timestamp > judged.votingDeadline) {
            revert VotingDeadlinePassed(round, judged.votingDeadline, block.timestamp);
        }
        if (aggregateHash != judged.aggregateHash) revert WrongAggregate(judged.aggregateHash, aggregateHash);
        if (_attested[round][msg.sender]) revert AlreadyWitnessed(round, msg.sender);
        _attested[round][msg.sender] = true;
        // Saturates: no rule asks for more than one, and no number of witnesses may make the call fail.
        if (judged.witnesses < type(uint8).max) judged.witnesses += 1;
        bytes32 head = _advance(RoundWitnessed.selector, abi.encode(round, msg.sender, aggregateHash));
        emit RoundWitnessed(round, msg.sender, aggregateHash, head);
    }

    /// @notice Anybody ends a round whose outcome no further vote can change, or whose time to vote is over.
    /// @dev Rejected at the reject quorum; else accepted with `minVotes` votes, more than half of which accept one and the
    /// same candidate, so that votes kept back by whoever relays them rather end a round than carry it, and votes for
    /// other candidates, made by whoever shows hospitals different aggregates, carry nothing; else aborted. Early only
    /// where the votes still to come could change nothing, however many come and whatever they say. Where a witness is
    /// required, a round that the votes carry waits for an attestation, and is aborted where none has come in time.
    /// @param round The round that is voted on.
    /// @return phase Accepted, Rejected, or Aborted for want of votes, of a majority, of one candidate, or of a witness.
    function finalizeRound(uint32 round) external returns (Phase phase) {
        return _finalize(round);
    }

    /// @notice The aggregator ends a round as `finalizeRound` does and, where it was accepted or rejected, opens the next
    /// one in the same transaction. After an aborted round none is opened: people should look first.
    /// @param round The round that is voted on.
    /// @return phase How it ended.
    /// @return opened The number of the round that was opened; 0: none.
    function finalizeAndOpen(uint32 round) external onlyRole(AGGREGATOR_ROLE) returns (Phase phase, uint32 opened) {
        phase = _finalize(round);
        if (phase != Phase.Aborted) opened = _open();
    }

    /// @notice Aggregator or admin gives up a round that is not final; every hospital keeps the model it had.
    /// @param round The open round, or the one voted on.
    /// @param reason A short name in ASCII, padded with zeros.
    function abortRound(uint32 round, bytes32 reason) external {
        if (!hasRole(AGGREGATOR_ROLE, msg.sender)) _checkRole(DEFAULT_ADMIN_ROLE);
        Round storage ending = _rounds[round];
        if (ending.phase != Phase.Open && ending.phase != Phase.Voting) revert RoundAlreadyFinal(round, ending.phase);
        _checkNotZero("reason", reason);
        ending.phase = Phase.Aborted;
        emit RoundAborted(round, reason, _advance(RoundAborted.selector, abi.encode(round, reason)));
    }

    // ---- views ----------------------------------------------------------------------------------------------------

    /// @notice The rules of every round.
    /// @return The rules given at deployment.
    function rules() external view returns (Rules memory) {
        return _rules;
    }

    /// @notice Hash over all events so far.
    /// @return The head that the last event carries.
    function ledgerHead() external view returns (bytes32) {
        return _ledgerHead;
    }

    /// @notice Names the model that the next round starts from.
    /// @return A hash over the initial model and every accepted aggregate.
    function baseId() external view returns (bytes32) {
        return _baseId;
    }

    /// @notice The number of the last opened round; 0 before the first.
    /// @return Its number; rounds are numbered without a gap.
    function latestRound() external view returns (uint32) {
        return _latestRound;
    }

    /// @notice What is recorded of a round; all zero where it was never opened.
    /// @param round Its number, from 1.
    /// @return The round's record.
    function roundOf(uint32 round) external view returns (Round memory) {
        return _rounds[round];
    }

    /// @notice Everybody who ever was on the roster, by place.
    /// @return One entry for each place, revoked hospitals included.
    function roster() external view returns (Member[] memory) {
        return _members;
    }

    /// @notice The key epoch, its context fingerprint (0 while not set) and its dealer (0 while none is named).
    /// @return keyEpoch The current epoch, from 1.
    /// @return contextFingerprint Fingerprint of its key, or 0.
    /// @return dealer Who names keys, or 0.
    function keyContext() external view returns (uint32 keyEpoch, bytes32 contextFingerprint, address dealer) {
        return (_keyEpoch, _contextFingerprint, _dealer);
    }

    /// @notice Where an update root was recorded; 0: nowhere.
    /// @param updateRoot Merkle root of an update's chunk hashes.
    /// @return The round, from 1, or 0.
    function roundOfUpdate(bytes32 updateRoot) external view returns (uint32) {
        return _roundOfUpdate[updateRoot];
    }

    // ---- inner rules ----------------------------------------------------------------------------------------------

    /// @dev Assigning a role is in the ledger head; witnesses change between rounds only.
    function _grantRole(bytes32 role, address account) internal override returns (bool changed) {
        if (role == WITNESS_ROLE) _checkNoRound();
        changed = super._grantRole(role, account);
        if (changed) emit RoleAssigned(role, account, _advance(RoleAssigned.selector, abi.encode(role, account)));
    }

    /// @dev Removing, and giving up, a role is in the ledger head; witnesses change between rounds only.
    function _revokeRole(bytes32 role, address account) internal override returns (bool changed) {
        if (role == WITNESS_ROLE) _checkNoRound();
        changed = super._revokeRole(role, account);
        if (changed) emit RoleRemoved(role, account, _advance(RoleRemoved.selector, abi.encode(role, account)));
    }

    /// @dev Extends the hash over all events by one event.
    function _advance(bytes32 selector, bytes memory fields) private returns (bytes32 head) {
        head = keccak256(abi.encodePacked(_ledgerHead, selector, fields));
        _ledgerHead = head;
    }

    /// @dev The next epoch, which has no key yet.
    function _discardKey() private {
        _keyEpoch += 1;
        _contextFingerprint = 0;
    }

    function _startKeyEpoch() private {
        _discardKey();
        bytes32 head = _advance(KeyEpochStarted.selector, abi.encode(_keyEpoch, msg.sender));
        emit KeyEpochStarted(_keyEpoch, msg.sender, head);
    }

    function _nameDealer(address hospital) private {
        if (_dealer != address(0)) revert DealerAlreadyNamed(_dealer);
        _dealer = hospital;
        emit DealerNamed(hospital, _advance(DealerNamed.selector, abi.encode(hospital)));
    }

    function _open() private betweenRounds returns (uint32 round) {
        if (_contextFingerprint == 0) revert ContextNotSet(_keyEpoch);
        uint256 active = _count(_activeMask);
        if (active < _rules.minIncluded) revert RosterTooSmall(active, _rules.minIncluded);
        round = ++_latestRound;
        Round storage opened = _rounds[round];
        opened.phase = Phase.Open;
        opened.rejectQuorum = _resolveQuorum(_rules.rejectQuorum, active);
        opened.minVotes = _resolveQuorum(_rules.minVotes, active);
        opened.threshold = _resolveThreshold(_rules.releaseThreshold, active);
        opened.submissionDeadline = uint40(block.timestamp + _rules.submissionDuration);
        opened.enrolledTotal = _enrolledTotal;
        opened.rosterMask = _activeMask;
        opened.baseId = _baseId;
        opened.contextFingerprint = _contextFingerprint;
        opened.openingHead = _emitRoundOpened(round, opened);
    }

    function _submit(Commitment calldata commitment) private {
        uint32 round = commitment.round;
        Round storage open = _rounds[round];
        if (open.phase != Phase.Open) revert RoundNotOpen(round, open.phase);
        if (block.timestamp > open.submissionDeadline) {
            revert SubmissionDeadlinePassed(round, open.submissionDeadline, block.timestamp);
        }
        uint256 index = _activeIndex(commitment.hospital, open.rosterMask);
        if (open.submittedMask & _bit(index) != 0) revert AlreadySubmitted(round, commitment.hospital);
        _checkCommitment(commitment, open, _members[index].weight);
        open.submittedMask |= _bit(index);
        _roundOfUpdate[commitment.updateRoot] = round;
        _emitUpdateCommitted(commitment);
    }

    function _cast(Vote calldata vote) private {
        Round storage judged = _rounds[vote.round];
        if (judged.phase != Phase.Voting) revert RoundNotVoting(vote.round, judged.phase);
        if (block.timestamp > judged.votingDeadline) {
            revert VotingDeadlinePassed(vote.round, judged.votingDeadline, block.timestamp);
        }
        uint128 bit = _bit(_activeIndex(vote.hospital, judged.rosterMask));
        if (judged.votedMask & bit != 0) revert AlreadyVoted(vote.round, vote.hospital);
        if (vote.aggregateHash != judged.aggregateHash) revert WrongAggregate(judged.aggregateHash, vote.aggregateHash);
        judged.votedMask |= bit;
        if (vote.accept) {
            judged.accepts += 1;
            uint8 agreeing = ++_acceptsOf[vote.round][vote.candidateDigest];
            if (agreeing > judged.agreeing) {
                judged.agreeing = agreeing;
                judged.candidateDigest = vote.candidateDigest;
            }
        } else {
            judged.rejects += 1;
        }
        bytes memory fields = abi.encode(
            vote.round,
            vote.hospital,
            vote.accept,
            vote.candidateDigest,
            vote.countsHash,
            vote.evidenceHash
        );
        bytes32 head = _advance(VoteCast.selector, fields);
        emit VoteCast(
            vote.round,
            vote.hospital,
            vote.accept,
            vote.candidateDigest,
            vote.countsHash,
            vote.evidenceHash,
            head
        );
    }

    function _finalize(uint32 round) private returns (Phase phase) {
        Round storage ending = _rounds[round];
        if (ending.phase != Phase.Voting) revert RoundNotVoting(round, ending.phase);
        (uint256 agreeing, uint256 rejects) = (ending.agreeing, ending.rejects);
        uint256 votes = ending.accepts + rejects;
        // Votes that may still come. All of them agree at best, reject at worst.
        uint256 outstanding = block.timestamp > ending.votingDeadline ? 0 : _count(ending.rosterMask) - votes;
        if (rejects >= ending.rejectQuorum) {
            phase = Phase.Rejected;
        } else if (rejects + outstanding >= ending.rejectQuorum) {
            revert OutcomeStillOpen(round, ending.votingDeadline, block.timestamp);
        } else if (votes >= ending.minVotes && agreeing > votes - agreeing + outstanding) {
            phase = _unwitnessed(ending) ? Phase.Aborted : Phase.Accepted;
            if (phase == Phase.Aborted && block.timestamp <= ending.votingDeadline) {
                revert WitnessMissing(round, ending.votingDeadline, block.timestamp);
            }
        } else if (votes + outstanding < ending.minVotes || agreeing + outstanding <= votes - agreeing) {
            phase = Phase.Aborted;
        } else {
            revert OutcomeStillOpen(round, ending.votingDeadline, block.timestamp);
        }
        ending.phase = phase;
        _emitOutcome(round, ending);
    }

    function _emitRoundOpened(uint32 round, Round storage opened) private returns (bytes32 head) {
        Round memory fields = opened;
        head = _advance(
            RoundOpened.selector,
            abi.encode(
                round,
                fields.baseId,
                fields.contextFingerprint,
                fields.rosterMask,
                fields.enrolledTotal,
                fields.submissionDeadline,
                fields.rejectQuorum,
                fields.minVotes,
                fields.threshold
            )
        );
        emit RoundOpened(
            round,
            fields.baseId,
            fields.contextFingerprint,
            fields.rosterMask,
            fields.enrolledTotal,
            fields.submissionDeadline,
            fields.rejectQuorum,
            fields.minVotes,
            fields.threshold,
            head
        );
    }

    function _emitUpdateCommitted(Commitment calldata commitment) private {
        bytes32 head = _advance(
            UpdateCommitted.selector,
            abi.encode(
                commitment.round,
                commitment.hospital,
                commitment.updateRoot,
                commitment.updateBytes,
                commitment.sharesRoot,
                commitment.weight,
                commitment.privacy
            )
        );
        emit UpdateCommitted(
            commitment.round,
            commitment.hospital,
            commitment.updateRoot,
            commitment.updateBytes,
            commitment.sharesRoot,
            commitment.weight,
            commitment.privacy,
            head
        );
    }

    function _emitSubmissionsClosed(uint32 round, Round storage closing, Exclusion[] calldata exclusions) private {
        bytes memory fields = abi.encode(
            round,
            closing.aggregateHash,
            closing.includedMask,
            closing.includedWeight,
            exclusions,
            closing.votingDeadline
        );
        bytes32 head = _advance(SubmissionsClosed.selector, fields);
        emit SubmissionsClosed(
            round,
            closing.aggregateHash,
            closing.includedMask,
            closing.includedWeight,
            exclusions,
            closing.votingDeadline,
            head
        );
    }

    /// @dev An accepted aggregate becomes part of the base of the next round.
    function _emitOutcome(uint32 round, Round storage ended) private {
        (uint8 accepts, uint8 rejects) = (ended.accepts, ended.rejects);
        if (ended.phase == Phase.Accepted) {
            bytes32 base =
                keccak256(abi.encode(_baseId, ended.aggregateHash, ended.includedWeight, ended.enrolledTotal));
            _baseId = base;
            bytes32 digest = ended.candidateDigest;
            bytes32 head = _advance(RoundAccepted.selector, abi.encode(round, accepts, rejects, digest, base));
            emit RoundAccepted(round, accepts, rejects, digest, base, head);
        } else if (ended.phase == Phase.Rejected) {
            bytes32 head = _advance(RoundRejected.selector, abi.encode(round, accepts, rejects));
            emit RoundRejected(round, accepts, rejects, head);
        } else {
            bytes32 reason = _NOT_WITNESSED;
            uint256 votes = uint256(accepts) + rejects;
            if (votes < ended.minVotes) reason = _TOO_FEW_VOTES;
            else if (accepts <= rejects) reason = _NO_MAJORITY;
            else if (ended.agreeing <= votes - ended.agreeing) reason = _DIGESTS_DIFFER;
            bytes32 head = _advance(RoundAborted.selector, abi.encode(round, reason));
            emit RoundAborted(round, reason, head);
        }
    }

    function _unwitnessed(Round storage ending) private view returns (bool) {
        return _rules.witnessRequired && ending.witnesses == 0;
    }

    function _checkNoRound() private view {
        Phase phase = _rounds[_latestRound].phase;
        // slither-disable-next-line incorrect-equality
        if (phase == Phase.Open || phase == Phase.Voting) revert RoundInProgress(_latestRound);
    }

    function _checkCommitment(Commitment calldata commitment, Round storage open, uint32 weight) private view {
        if (commitment.ledgerHead != open.openingHead) revert WrongLedgerHead(open.openingHead, commitment.ledgerHead);
        if (commitment.baseId != open.baseId) revert WrongBase(open.baseId, commitment.baseId);
        if (commitment.contextFingerprint != open.contextFingerprint) {
            revert WrongContext(open.contextFingerprint, commitment.contextFingerprint);
        }
        if (commitment.weight != weight) revert WrongWeight(weight, commitment.weight);
        if (commitment.privacy.mode > 2 || commitment.privacy.unit > 3) {
            revert UnknownPrivacyCode(commitment.privacy.mode, commitment.privacy.unit);
        }
        _checkNotZero("updateRoot", commitment.updateRoot);
        _checkNotZero("updateBytes", bytes32(uint256(commitment.updateBytes)));
        _checkNotZero("sharesRoot", commitment.sharesRoot);
        _checkUnused(commitment.updateRoot);
    }

    /// @dev A root names one update or one aggregate for good: whoever releases shares for "the aggregate" of a round
    /// must not be shown an update or an older sum under that name. Sums of two or more never are an update.
    function _checkUnused(bytes32 root) private view {
        uint32 usedIn = _roundOfUpdate[root];
        if (usedIn == 0) usedIn = _roundOfAggregate[root];
        if (usedIn != 0) revert HashAlreadyUsed(root, usedIn);
    }

    function _hashCommitment(Commitment calldata commitment) private pure returns (bytes32) {
        bytes32 privacyHash = keccak256(abi.encode(_PRIVACY_TYPEHASH, commitment.privacy));
        return keccak256(
            abi.encode(
                _COMMITMENT_TYPEHASH,
                commitment.round,
                commitment.hospital,
                commitment.ledgerHead,
                commitment.baseId,
                commitment.contextFingerprint,
                commitment.updateRoot,
                commitment.updateBytes,
                commitment.sharesRoot,
                commitment.weight,
                privacyHash
            )
        );
    }

    function _checkSigner(address hospital, bytes32 structHash, bytes calldata signature) private view {
        // slither-disable-next-line unused-return
        (address signer,,) = ECDSA.tryRecover(_hashTypedDataV4(structHash), signature);
        if (signer != hospital || signer == address(0)) revert WrongSigner(hospital, signer);
    }

    function _activeIndex(address account, uint128 mask) private view returns (uint256 index) {
        uint256 place = _places[account];
        if (place == 0 || mask & _bit(place - 1) == 0) revert NotOnRoster(account);
        return place - 1;
    }

    function _weightOf(uint128 mask) private view returns (uint40 total) {
        uint256 places = _members.length;
        for (uint256 index = 0; index < places; ++index) {
            if (mask & _bit(index) != 0) total += _members[index].weight;
        }
    }

    function _checkExclusions(uint128 expectedMask, Exclusion[] calldata exclusions) private pure {
        uint128 namedMask = 0;
        for (uint256 position = 0; position < exclusions.length; ++position) {
            Exclusion calldata exclusion = exclusions[position];
            uint128 bit = _bit(exclusion.index);
            if (expectedMask & bit == 0 || namedMask & bit != 0 || exclusion.reason == 0) {
                revert InvalidExclusion(exclusion.index, exclusion.reason);
            }
            namedMask |= bit;
        }
        if (namedMask != expectedMask) revert ExclusionsMissing(expectedMask, namedMask);
    }

    function _resolveQuorum(uint8 quorum, uint256 active) private pure returns (uint8) {
        if (quorum > active) revert QuorumAboveRoster(quorum, active);
        return quorum == 0 ? uint8(active / 2 + 1) : quorum;
    }

    /// @dev Above two thirds: two different sets are then never both released while fewer than a third of all cheat.
    function _resolveThreshold(uint8 threshold, uint256 active) private pure returns (uint8) {
        if (threshold > active) revert QuorumAboveRoster(threshold, active);
        return threshold == 0 ? uint8(2 * active / 3 + 1) : threshold;
    }

    function _checkRule(bytes32 rule, uint256 value, uint256 low, uint256 high) private pure {
        if (value < low || value > high) revert RuleOutOfRange(rule, value);
    }

    function _checkNotZero(bytes32 field, bytes32 value) private pure {
        if (value == 0) revert ZeroValue(field);
    }

    function _bit(uint256 index) private pure returns (uint128) {
        return uint128(1 << index);
    }

    function _count(uint128 mask) private pure returns (uint256 members) {
        for (; mask != 0; mask &= mask - 1) ++members;
    }
}
