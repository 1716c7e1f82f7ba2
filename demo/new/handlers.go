package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

func (s *Shop) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/products", s.listProducts)
	mux.HandleFunc("/api/products/", s.getProduct)
	mux.HandleFunc("/api/prices/", s.getPrice)
	mux.HandleFunc("/api/stock", s.getStock)
	mux.HandleFunc("/api/orders", s.createOrder)
	mux.HandleFunc("/api/orders/", s.getOrder)
	mux.HandleFunc("/api/customers/", s.getCustomer)
	mux.HandleFunc("/api/search", s.search)
	mux.HandleFunc("/api/report", s.report)
	mux.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		writeLikeLegacy(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	return mux
}

// idIn reads the number behind prefix; 0 is no product, order or customer.
func idIn(r *http.Request, prefix string) int {
	id, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, prefix))
	if err != nil {
		return 0
	}
	return id
}

type listedProduct struct {
	ID    int      `json:"id"`
	Name  string   `json:"name"`
	Price float64  `json:"price"` // DIVERGES number.integral_float: 12, where the legacy writes 12.0.
	Tags  []string `json:"tags"`
}

func (s *Shop) listProducts(w http.ResponseWriter, r *http.Request) {
	category := r.URL.Query().Get("category")
	page := 1
	if text := r.URL.Query().Get("page"); text != "" {
		number, err := strconv.Atoi(text)
		if err != nil {
			writeJSON(w, http.StatusBadRequest, problem{"page is not a number"})
			return
		}
		page = number
	}
	total := 0
	var items []listedProduct // DIVERGES null.empty_array: without a hit this stays nil and is written as null.
	for i := range s.products {
		p := &s.products[i]
		if category != "" && p.Category != category {
			continue
		}
		if total >= (page-1)*10 && total < page*10 {
			items = append(items, listedProduct{p.ID, p.Name, p.Price, p.Tags})
		}
		total++
	}
	writeJSON(w, http.StatusOK, struct {
		Page  int             `json:"page"`
		Total int             `json:"total"`
		Items []listedProduct `json:"items"`
	}{page, total, items})
}

// getProduct took care: it is byte for byte what the legacy answers.
func (s *Shop) getProduct(w http.ResponseWriter, r *http.Request) {
	id := idIn(r, "/api/products/")
	p := s.product[id]
	if p == nil {
		writeLikeLegacy(w, http.StatusNotFound, problem{fmt.Sprintf("product %d not found", id)})
		return
	}
	writeLikeLegacy(w, http.StatusOK, struct {
		ID          int      `json:"id"`
		SKU         string   `json:"sku"`
		Name        string   `json:"name"`
		Category    string   `json:"category"`
		Price       pyFloat  `json:"price"`
		WeightKG    pyFloat  `json:"weight_kg"`
		Rating      pyFloat  `json:"rating"`
		Tags        []string `json:"tags"`
		InStock     bool     `json:"in_stock"`
		Description string   `json:"description"`
	}{p.ID, p.SKU, p.Name, p.Category, pyFloat(p.Price), pyFloat(p.WeightKG), pyFloat(p.Rating), p.Tags, p.Stock > 0, p.Description})
}

// getPrice took care of the bytes, and still has a fault.
func (s *Shop) getPrice(w http.ResponseWriter, r *http.Request) {
	id := idIn(r, "/api/prices/")
	p := s.product[id]
	if p == nil {
		writeLikeLegacy(w, http.StatusNotFound, problem{fmt.Sprintf("product %d not found", id)})
		return
	}
	final := p.Price
	if p.Discount > 0 {
		// DIVERGES value.changed, a true fault: cuts to cents where the legacy rounds,
		// so about a third of the reduced products are one cent too cheap.
		final = math.Floor(p.Price*float64(100-p.Discount)) / 100
	}
	writeLikeLegacy(w, http.StatusOK, struct {
		ID       int     `json:"id"`
		Price    pyFloat `json:"price"`
		Discount int     `json:"discount"`
		Final    pyFloat `json:"final"`
	}{p.ID, pyFloat(p.Price), p.Discount, pyFloat(final)})
}

// getStock took care: the empty list is [] and the order is the caller's.
func (s *Shop) getStock(w http.ResponseWriter, r *http.Request) {
	type row struct {
		ID        int `json:"id"`
		Available int `json:"available"`
	}
	rows := make([]row, 0)
	for _, text := range strings.Split(r.URL.Query().Get("ids"), ",") {
		id, err := strconv.Atoi(text)
		if err != nil || s.product[id] == nil {
			continue
		}
		rows = append(rows, row{id, s.product[id].Stock})
	}
	writeLikeLegacy(w, http.StatusOK, struct {
		Stock []row `json:"stock"`
	}{rows})
}

func (s *Shop) getOrder(w http.ResponseWriter, r *http.Request) {
	id := idIn(r, "/api/orders/")
	o := s.order[id]
	if o == nil {
		writeJSON(w, http.StatusNotFound, problem{fmt.Sprintf("order %d not found", id)})
		return
	}
	type line struct {
		ProductID int     `json:"product_id"`
		Quantity  int     `json:"quantity"`
		Price     float64 `json:"price"`
	}
	lines := make([]line, 0, len(o.Lines))
	for _, l := range o.Lines {
		lines = append(lines, line{l.ProductID, l.Quantity, s.product[l.ProductID].Price})
	}
	writeJSON(w, http.StatusOK, struct {
		ID         int       `json:"id"`
		CustomerID int       `json:"customer_id"`
		PlacedAt   time.Time `json:"placed_at"`      // DIVERGES time.zone, time.fraction: Z, and trailing zeros trimmed.
		Note       string    `json:"note,omitempty"` // DIVERGES zero.omitted: no note, no member.
		Lines      []line    `json:"lines"`
	}{o.ID, o.CustomerID, o.Placed(), o.Note, lines})
}

var placed int64

func (s *Shop) createOrder(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		writeJSON(w, http.StatusMethodNotAllowed, problem{"Method Not Allowed"})
		return
	}
	var order Order
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
		writeJSON(w, http.StatusBadRequest, problem{err.Error()})
		return
	}
	number := 900_000 + atomic.AddInt64(&placed, 1)
	w.Header().Set("Location", fmt.Sprintf("/api/orders/%d", number))
	writeLikeLegacy(w, http.StatusCreated, struct {
		ID    int64 `json:"id"`
		Lines int   `json:"lines"`
	}{number, len(order.Lines)})
}

func (s *Shop) getCustomer(w http.ResponseWriter, r *http.Request) {
	id := idIn(r, "/api/customers/")
	c := s.customers[id]
	if c == nil || c.Closed { // DIVERGES http.status: the legacy answers a closed account with 200.
		writeLikeLegacy(w, http.StatusNotFound, problem{fmt.Sprintf("customer %d not found", id)})
		return
	}
	// DIVERGES escape.non_ascii: names are written as UTF-8, the legacy escapes them.
	writeLikeLegacy(w, http.StatusOK, struct {
		ID          int            `json:"id"`
		Name        string         `json:"name"`
		Country     string         `json:"country"`
		Preferences map[string]any `json:"preferences"`
	}{c.ID, c.Name, c.Country, c.Preferences})
}

type hit struct {
	ID    int     `json:"id"`
	Name  string  `json:"name"`
	Score float64 `json:"score"` // DIVERGES number.exponent_threshold: 10000000000000000 and 0.00001.
}

func (s *Shop) search(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query().Get("q")
	if r.Method == http.MethodPost {
		var body struct {
			Q string `json:"q"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			writeJSON(w, http.StatusBadRequest, problem{err.Error()})
			return
		}
		query = body.Q
	}
	hits := []hit{}
	for i := range s.products {
		p := &s.products[i]
		count := 0
		if query != "" {
			count = strings.Count(strings.ToLower(p.Name), strings.ToLower(query))
		}
		if count > 0 {
			hits = append(hits, hit{p.ID, p.Name, float64(count) * p.Boost})
		}
	}
	sort.SliceStable(hits, func(i, j int) bool { return hits[i].Score > hits[j].Score })
	if len(hits) > 8 {
		hits = hits[:8]
	}
	// DIVERGES whitespace.separator: the legacy puts a blank behind every comma and colon.
	writeJSON(w, http.StatusOK, struct {
		Q    string `json:"q"`
		Hits []hit  `json:"hits"`
	}{query, hits})
}

// report took care of the bytes of the document; what gzip makes of them is another matter.
func (s *Shop) report(w http.ResponseWriter, r *http.Request) {
	type row struct {
		Order    int      `json:"order"`
		Customer string   `json:"customer"`
		Country  string   `json:"country"`
		Items    int      `json:"items"`
		Note     string   `json:"note"`
		Products []string `json:"products"`
		Total    pyFloat  `json:"total"`
	}
	rows := make([]row, 0, len(s.orders))
	for i := range s.orders {
		o := &s.orders[i]
		c := s.customers[o.CustomerID]
		next := row{Order: o.ID, Customer: c.Name, Country: c.Country, Note: o.Note, Products: []string{}}
		total := 0.0
		for _, l := range o.Lines {
			next.Items += l.Quantity
			next.Products = append(next.Products, s.product[l.ProductID].Name)
			total += s.product[l.ProductID].Price * float64(l.Quantity)
		}
		next.Total = pyFloat(math.Round(total*100) / 100)
		rows = append(rows, next)
	}
	body, err := likeLegacy(struct {
		Rows  []row `json:"rows"`
		Count int   `json:"count"`
	}{rows, len(rows)})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Vary", "Accept-Encoding")
	if r.URL.Query().Has("download") {
		// DIVERGES http.header: no quotes around the file name.
		w.Header().Set("Content-Disposition", "attachment; filename=report.json")
	}
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Write(body)
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	zipped := gzip.NewWriter(w)
	defer zipped.Close()
	zipped.Write(body)
}
