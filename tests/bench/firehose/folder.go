package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"log"
	"math/big"
	"math/rand"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// accounts begins the names of what a folder has of database admin, as mongodump names it in a dump of one database:
// $admin.system.users, $admin.system.roles, $admin.system.version.
const accounts = "$admin."

// entry is what a given collection is besides its documents: NAME.entry.bson, all of it optional.
type entry struct {
	Type    string     `bson:"type,omitempty"`
	Options bson.Raw   `bson:"options,omitempty"`
	Info    bson.Raw   `bson:"info,omitempty"`
	Indexes []bson.Raw `bson:"indexes,omitempty"`
	Denied  bool       `bson:"denied,omitempty"` // nobody may read it
}

// load takes every NAME.bson of a folder (names URL-escaped) as a collection; it returns bytes and documents.
func load(folder string) (size, count int) {
	files, err := filepath.Glob(filepath.Join(folder, "*.bson"))
	if err != nil {
		log.Fatal(err)
	}
	for _, file := range files {
		stem := strings.TrimSuffix(filepath.Base(file), ".bson")
		if strings.HasSuffix(stem, ".entry") {
			continue
		}
		name, err := url.QueryUnescape(stem)
		if err != nil {
			log.Fatal(err)
		}
		data := must(os.ReadFile(file))
		c := &collection{data: data, given: &entry{}}
		for at := 0; at < len(data); at += int(binary.LittleEndian.Uint32(data[at:])) {
			c.offsets = append(c.offsets, at)
		}
		count += len(c.offsets)
		size += len(data)
		c.offsets = append(c.offsets, len(data))
		if about, err := os.ReadFile(strings.TrimSuffix(file, ".bson") + ".entry.bson"); err == nil {
			if err := bson.Unmarshal(about, c.given); err != nil {
				log.Fatal(err)
			}
		}
		collections[name] = c
	}
	return size, count
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// listed is what listCollections says of a collection.
func (c *collection) listed(name string) bson.D {
	kind, options, info := "collection", must(bson.Marshal(bson.D{})), must(bson.Marshal(bson.D{{"readOnly", false}}))
	if c.given != nil {
		if c.given.Type != "" {
			kind = c.given.Type
		}
		if c.given.Options != nil {
			options = c.given.Options
		}
		if c.given.Info != nil {
			info = c.given.Info
		}
	}
	return bson.D{{"name", name}, {"type", kind}, {"options", bson.Raw(options)}, {"info", bson.Raw(info)},
		{"idIndex", bson.D{{"v", int32(2)}, {"key", bson.D{{"_id", int32(1)}}}, {"name", "_id_"}}}}
}

// at is document i.
func (c *collection) at(i int) bson.Raw { return c.data[c.offsets[i]:c.offsets[i+1]] }

// id is the _id of document i.
func (c *collection) id(i int) bson.RawValue { return c.at(i).Lookup("_id") }

// only is what a query on _id, or on db, leaves of a collection: as it lies where that is one run, else copied.
func (c *collection) only(query bson.Raw) (*collection, int, int) {
	var found []int
	for i := 0; i+1 < len(c.offsets); i++ {
		if db, ok := query.Lookup("db").StringValueOK(); ok && c.at(i).Lookup("db").StringValue() == db || !ok && matches(query, c.id(i)) {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return c, 0, 0
	}
	if last := found[len(found)-1]; last-found[0]+1 == len(found) {
		return c, found[0], last + 1
	}
	sub := &collection{}
	for _, i := range found {
		sub.offsets = append(sub.offsets, len(sub.data))
		sub.data = append(sub.data, c.data[c.offsets[i]:c.offsets[i+1]]...)
	}
	sub.offsets = append(sub.offsets, len(sub.data))
	return sub, 0, len(found)
}

// matches says whether an _id satisfies a query of ranges and $nor, by MongoDB's rules: a comparison holds only within
// one kind of types, and never for NaN.
func matches(query bson.Raw, id bson.RawValue) bool {
	elements, _ := query.Elements()
	for _, e := range elements {
		switch e.Key() {
		case "$nor":
			each, _ := e.Value().Array().Values()
			for _, one := range each {
				if matches(one.Document(), id) {
					return false
				}
			}
		case "_id":
			bounds, _ := e.Value().Document().Elements()
			for _, b := range bounds {
				order, same := compare(id, b.Value())
				if !same || (b.Key() == "$gte" && order < 0) || (b.Key() == "$lt" && order >= 0) {
					return false
				}
			}
		default:
			log.Fatalf("firehose cannot answer %s", query)
		}
	}
	return true
}

func compare(a, b bson.RawValue) (order int, same bool) {
	x, y := number(a), number(b)
	if x != nil && y != nil {
		return x.Cmp(y), true
	}
	text := func(v bson.RawValue) bool { return v.Type == bson.TypeString || v.Type == bson.TypeSymbol }
	switch {
	case text(a) && text(b):
		return bytes.Compare(a.Value[4:], b.Value[4:]), true
	case a.Type != b.Type || x != nil || y != nil:
		return 0, false
	case a.Type == bson.TypeObjectID:
		return bytes.Compare(a.Value, b.Value), true
	case a.Type == bson.TypeDateTime:
		return cmp.Compare(a.DateTime(), b.DateTime()), true
	case a.Type == bson.TypeBinary:
		n, m := binary.LittleEndian.Uint32(a.Value), binary.LittleEndian.Uint32(b.Value)
		return cmp.Or(cmp.Compare(n, m), bytes.Compare(a.Value[4:], b.Value[4:])), true
	}
	return 0, false
}

// number is the exact value of a finite number, else nil.
func number(v bson.RawValue) *big.Rat {
	switch v.Type {
	case bson.TypeInt32:
		return new(big.Rat).SetInt64(int64(v.Int32()))
	case bson.TypeInt64:
		return new(big.Rat).SetInt64(v.Int64())
	case bson.TypeDouble:
		return new(big.Rat).SetFloat64(v.Double())
	case bson.TypeDecimal128:
		whole, exponent, err := v.Decimal128().BigInt()
		if err != nil {
			return nil
		}
		scale := new(big.Int).Exp(big.NewInt(10), new(big.Int).Abs(big.NewInt(int64(exponent))), nil)
		if exponent < 0 {
			return new(big.Rat).SetFrac(whole, scale)
		}
		return new(big.Rat).SetInt(whole.Mul(whole, scale))
	}
	return nil
}

// sample answers {$sample: {size: n}}, {$project: {_id: 1, size: {$bsonSize: "$$ROOT"}}}.
func (c *collection) sample(n int) []any {
	out := []any{}
	for count := len(c.offsets) - 1; count > 0 && len(out) < min(n, count); {
		i := rand.Intn(count)
		id := c.id(i)
		out = append(out, bson.D{{"_id", id}, {"size", int32(c.offsets[i+1] - c.offsets[i])}})
	}
	return out
}
