package main

import (
	"encoding/binary"
	"fmt"
	"log"
	"net"
	"slices"
	"strings"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// store is what clients wrote, with -store: documents by their raw _id, by DB.NAME, in memory alone. It is served as it
// was given, in no order; nil to swallow what comes. Indexes are confirmed, and not built.
var (
	store   map[string]map[string]bson.Raw
	storing sync.Mutex
)

// Limits of a MongoDB server: documents of one write, and bytes of a command's own document.
const mostWrites, largestCommand = 100_000, 16<<20 + 16<<10

// stored does a command on the store; nil for one that is not about it.
func stored(name, db, coll string, doc bson.Raw, sequences [][]byte) net.Buffers {
	storing.Lock()
	defer storing.Unlock()
	ns := db + "." + coll
	switch name {
	case "insert":
		return storeNew(ns, given(doc, "documents", sequences))
	case "update":
		return storeOver(ns, given(doc, "updates", sequences))
	case "delete":
		asked := given(doc, "deletes", sequences)
		for _, one := range asked {
			delete(store[ns], identity(one.Lookup("q", "_id")))
		}
		return one(bson.D{{"n", int32(len(asked))}, {"ok", 1.0}})
	case "find":
		return found(ns, doc)
	case "applyops":
		ops := given(doc, "applyOps", nil)
		for _, one := range ops {
			operate(one)
		}
		return one(bson.D{{"applied", int32(len(ops))}, {"results", bson.A{}}, {"ok", 1.0}})
	case "_mergeauthzcollections":
		mergeStored(doc)
	case "listcollections":
		return listed(db, doc)
	case "create":
		if _, there := doc.Lookup("temp").BooleanOK(); there { // only applyOps may say so
			return refusal(72, "InvalidOptions")
		}
		if store[ns] != nil {
			return refusal(48, "NamespaceExists")
		}
		table(ns)
	case "drop":
		delete(store, ns)
	case "renamecollection":
		if store[coll] == nil {
			return refusal(26, "NamespaceNotFound")
		}
		store[doc.Lookup("to").StringValue()] = store[coll]
		delete(store, coll)
	default:
		return nil
	}
	return one(bson.D{{"ok", 1.0}})
}

func refusal(code int32, name string) net.Buffers {
	return one(bson.D{{"ok", 0.0}, {"errmsg", name}, {"code", code}, {"codeName", name}})
}

func table(ns string) map[string]bson.Raw {
	if store[ns] == nil {
		store[ns] = map[string]bson.Raw{}
	}
	return store[ns]
}

func identity(v bson.RawValue) string {
	return string(rune(v.Type)) + string(v.Value)
}

// given is a command's list of documents, wherever it stands.
func given(doc bson.Raw, field string, sequences [][]byte) (all []bson.Raw) {
	if array, ok := doc.Lookup(field).ArrayOK(); ok {
		for _, one := range must(array.Values()) {
			all = append(all, one.Document())
		}
	}
	for _, section := range sequences {
		for len(section) > 0 {
			size := binary.LittleEndian.Uint32(section)
			all = append(all, bson.Raw(section[:size]))
			section = section[size:]
		}
	}
	return all
}

func storeNew(ns string, documents []bson.Raw) net.Buffers {
	if len(documents) > mostWrites {
		return refusal(16, "InvalidLength")
	}
	into, wrong := table(ns), bson.A{}
	for at, one := range documents {
		id := identity(one.Lookup("_id"))
		if into[id] != nil {
			wrong = append(wrong, bson.D{{"index", int32(at)}, {"code", int32(11000)}, {"errmsg", "duplicate key"}})
			continue
		}
		into[id] = slices.Clone(one)
	}
	reply := bson.D{{"n", int32(len(documents) - len(wrong))}, {"ok", 1.0}}
	if len(wrong) > 0 {
		reply = append(reply, bson.E{Key: "writeErrors", Value: wrong})
	}
	return one(reply)
}

// storeOver is update, of replacements with upsert alone.
func storeOver(ns string, updates []bson.Raw) net.Buffers {
	into, made := table(ns), bson.A{}
	for at, one := range updates {
		id, document := one.Lookup("q", "_id"), one.Lookup("u").Document()
		if into[identity(id)] == nil {
			made = append(made, bson.D{{"index", int32(at)}, {"_id", id}})
		}
		into[identity(id)] = slices.Clone(document)
	}
	return one(bson.D{{"n", int32(len(updates))}, {"nModified", int32(len(updates) - len(made))}, {"upserted", made}, {"ok", 1.0}})
}

// mergeStored is _mergeAuthzCollections: of the temporary collections what is of one database comes into the server's
// own, but for what is there already.
func mergeStored(command bson.Raw) {
	database := command.Lookup("db").StringValue()
	for field, to := range map[string]string{"tempUsersCollection": "admin.system.users", "tempRolesCollection": "admin.system.roles"} {
		for id, one := range store[command.Lookup(field).StringValue()] {
			if into := table(to); one.Lookup("db").StringValue() == database && into[id] == nil {
				into[id] = one
			}
		}
	}
}

// found answers find: of everything, of {_id: {$in: […]}}, or of {db: …}.
func found(ns string, doc bson.Raw) net.Buffers {
	if len(doc) > largestCommand {
		return refusal(10334, "BSONObjectTooLarge")
	}
	from := store[ns]
	c, size := &collection{held: [][]byte{}}, 0
	add := func(one bson.Raw) {
		c.offsets = append(c.offsets, size)
		c.held, size = append(c.held, one), size+len(one)
	}
	if asked, ok := doc.Lookup("filter", "_id", "$in").ArrayOK(); ok {
		for _, id := range must(asked.Values()) {
			if one := from[identity(id)]; one != nil {
				add(one)
			}
		}
	} else {
		database, ofOne := doc.Lookup("filter", "db").StringValueOK()
		for _, one := range from {
			if !ofOne || one.Lookup("db").StringValue() == database {
				add(one)
			}
		}
	}
	c.offsets = append(c.offsets, size)
	batch, _ := doc.Lookup("batchSize").AsInt64OK()
	cur := &cursor{ns, c, 0, len(c.offsets) - 1}
	return cur.reply("firstBatch", cursorID.Add(1), max(int(batch), 1))
}

// operate does an entry of the oplog, as applyOps has it.
func operate(entry bson.Raw) {
	what, into := entry.Lookup("o").Document(), table(entry.Lookup("ns").StringValue())
	switch op := entry.Lookup("op").StringValue(); op {
	case "i":
		into[identity(what.Lookup("_id"))] = slices.Clone(what)
	case "d":
		delete(into, identity(what.Lookup("_id")))
	case "u":
		id := identity(entry.Lookup("o2", "_id"))
		into[id] = patched(into[id], what.Lookup("diff").Document())
	default:
		log.Fatalf("applyOps of %s", op)
	}
}

// patched is a document after a diff of $v: 2 that says what changes ("u"), comes ("i") and goes ("d") at its top.
func patched(document, diff bson.Raw) bson.Raw {
	gone, changed, come := map[string]bool{}, map[string]bson.RawElement{}, []bson.RawElement{}
	for _, section := range must(diff.Elements()) {
		for _, one := range must(section.Value().Document().Elements()) {
			switch section.Key() {
			case "u":
				changed[one.Key()] = one
			case "i":
				come = append(come, one)
			case "d":
				gone[one.Key()] = true
			default:
				log.Fatalf("a diff with %s", section.Key())
			}
		}
	}
	out := make([]byte, 4, len(document)+len(diff))
	for _, one := range must(document.Elements()) {
		if other, ok := changed[one.Key()]; ok {
			one = other
		}
		if !gone[one.Key()] {
			out = append(out, one...)
		}
	}
	for _, one := range come {
		out = append(out, one...)
	}
	out = append(out, 0)
	binary.LittleEndian.PutUint32(out, uint32(len(out)))
	return out
}

func listed(db string, doc bson.Raw) net.Buffers {
	want, _ := doc.Lookup("filter", "name").StringValueOK()
	out := bson.A{}
	for ns := range store {
		if name, ok := strings.CutPrefix(ns, db+"."); ok && (want == "" || want == name) {
			out = append(out, bson.D{{"name", name}, {"type", "collection"}, {"options", bson.D{}}, {"info", bson.D{{"readOnly", false}}}})
		}
	}
	return firstBatch(fmt.Sprintf("%s.$cmd.listCollections", db), out...)
}
