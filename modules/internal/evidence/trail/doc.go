// Package trail keeps an audit trail: records that are appended, never
// changed, and provably so.
//
// A trail is a transparency log in the sense of RFC 6962 whose entries are
// lines of JSON in plain files. Whoever holds the public key, and now and
// then a checkpoint, can tell whether a record was edited, removed, inserted,
// moved or cut off, with this package or with a program written from the
// following text alone.
//
// # Format, version 1
//
// A trail is a directory. Numbers in it are decimal without leading zeros,
// except in names of files, where they are padded with zeros to 20 digits.
// Hashes are SHA-256, in text in base64 (RFC 4648 section 4) with padding.
// Times are seconds since 1970-01-01 UTC. Text is UTF-8 and lines end in
// U+000A.
//
//	NNN.jsonl    a segment: records, one a line. NNN is the index of the
//	             first, counting all records of the trail from 0
//	NNN.hashes   the leaf hashes of that segment's records, 32 bytes each
//	NNN.seal     a signed note about that segment, once it is closed
//	checkpoint   a signed checkpoint of the whole trail
//	pruned       a signed note about removed segments, if any were
//	cosigned     the last checkpoint that enough witnesses have cosigned,
//	             with their cosignatures (C2SP tlog-cosignature), if any have
//	keys         verifier keys that signed something here, one a line
//	lock         locked (flock) by the process that appends
//
// Files whose names end in .tmp are unfinished and mean nothing.
//
// A record is a JSON object (RFC 8259) of at most 1048576 bytes on one line;
// it begins with { and ends with } and contains no newline. The entry of the
// tree is the bytes of the line without its newline, as long as they are at
// most 65535, which is what an entry bundle of C2SP tlog-tiles can hold. The
// entry of a longer record is its first 65470 bytes, a newline, and the SHA-256
// hash of the bytes after those in 64 lower-case hexadecimal digits. Nothing
// else about a record matters here.
//
// The tree is the Merkle tree of RFC 6962 section 2.1 over the entries of all
// segments in order: the leaf hash is SHA-256(0x00 || entry), an inner node
// SHA-256(0x01 || left || right), the root of the empty tree SHA-256 of
// nothing. The hashes of segments laid end to end from record 256*n on are
// the tiles of level 0 of C2SP tlog-tiles.
//
// The subtrees of n records are the complete subtrees that RFC 6962 splits a
// tree of n leaves into, one for each bit of n, largest first. Notes below
// list their roots as "subtrees of n", one hash a line; the root of the tree
// is their fold from the right: root(s1 … sk) = node(s1, root(s2 … sk)).
//
// Signed notes follow C2SP signed-note with Ed25519 keys. They are
//
//	checkpoint   as C2SP tlog-checkpoint says, without extension lines:
//	               <origin>
//	               <records>
//	               <root>
//	NNN.seal     caddy-moat trail seal v1
//	               <origin>
//	               <first record> <end> <bytes of the segment>
//	               <time begun> <time closed>
//	               <subtrees of end>
//	pruned       caddy-moat trail pruned v1
//	               <origin>
//	               <end>
//	               <time removed>
//	               <subtrees of end>
//
// each line at the beginning of a line; end is the index after the last
// record concerned. The origin is the same in all notes of a trail. It
// contains no space and no plus sign, so that none of the other first lines
// is one. A later version of this format changes the "v1".
//
// # Verifying
//
// Begin with the empty tree, or where there is a pruned note with the
// subtrees that it lists. From there on segments follow one another without
// gap: each is named by the number of records before it. Add the leaf hash of
// each line. All segments but the last have a seal, which must name the
// origin, the first record, the number of bytes, and after the last line
// exactly the subtrees that were computed. At as many records as a checkpoint
// says the root must be its root; this goes for the checkpoint of the
// directory as for any that was kept elsewhere, and the trail must have that
// many records. Checkpoints of fewer records than were removed cannot be
// compared. Records after the last checkpoint are not vouched for yet.
//
// The last segment may end in an unfinished line, left by a crash; the next
// start removes it. The leaf hashes of the last segment may be fewer than its
// lines, never more unless power failed. They are not needed to find that
// something is wrong: they tell what, since after an edit they still hold
// what was there. Where their fold agrees with the seal they are as good as
// signed.
//
// Whoever copies a trail that is being written copies the checkpoint first,
// and the leaf hashes before the records.
//
// # What this shows, and what it does not
//
// Whoever can write the files but does not have the private key cannot change
// signed records without being found. They can change what is not signed yet,
// which is what came since the last checkpoint, up to ten seconds by default.
// They can put back an old copy of the whole trail, which is as good as it
// was then: only a newer checkpoint that was kept elsewhere shows that
// (Observer.Signed, VerifyOptions.Remembered), as witnesses keep it. They can put their own key
// beside their own trail, so the key too is to be kept elsewhere
// (VerifyOptions.Known). Whoever has the private key can write any trail; what
// they cannot do is agree with a checkpoint that somebody kept.
//
// # Writing
//
// Records are durable, by fdatasync, before a checkpoint or seal covers them
// and before AppendSync returns. Notes are replaced by renaming, and the
// directory is synced after every change of names. A seal is written before
// the next segment is begun, a pruned note before segments are removed.
//
// After a failed sync nothing is assumed of the data since the last good one:
// the file is opened anew, cut to what was durable, and the rest is written
// again from memory.
package trail
