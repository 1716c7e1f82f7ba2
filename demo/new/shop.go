package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Shop holds everything in memory, as the legacy does.
type Shop struct {
	products  []Product
	product   map[int]*Product
	customers map[int]*Customer
	orders    []Order
	order     map[int]*Order
}

// Product is one row of the data file.
type Product struct {
	ID          int      `json:"id"`
	SKU         string   `json:"sku"`
	Name        string   `json:"name"`
	Category    string   `json:"category"`
	Price       float64  `json:"price"`
	Discount    int      `json:"discount"`
	WeightKG    float64  `json:"weight_kg"`
	Rating      float64  `json:"rating"`
	Tags        []string `json:"tags"`
	Stock       int      `json:"stock"`
	Boost       float64  `json:"boost"`
	Description string   `json:"description"`
}

// Customer is one row of the data file.
type Customer struct {
	ID      int    `json:"id"`
	Name    string `json:"name"`
	Country string `json:"country"`
	Closed  bool   `json:"closed"`

	// DIVERGES number.precision_loss: every number in a map[string]any becomes a float64,
	// and an account number above 2^53 comes out as another number.
	// DIVERGES key_order: encoding/json writes a map's keys sorted.
	Preferences map[string]any `json:"preferences"`
}

// Order is one row of the data file.
type Order struct {
	ID         int     `json:"id"`
	CustomerID int     `json:"customer_id"`
	PlacedAt   float64 `json:"placed_at"`
	Note       string  `json:"note"`
	Lines      []Line  `json:"lines"`
}

// Line is one product of an order.
type Line struct {
	ProductID int `json:"product_id"`
	Quantity  int `json:"quantity"`
}

// Placed is the moment of the order, to the microsecond that the data has.
func (o *Order) Placed() time.Time {
	return time.UnixMicro(int64(o.PlacedAt*1e6 + 0.5)).UTC()
}

func loadShop(path string) (*Shop, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Products  []Product  `json:"products"`
		Customers []Customer `json:"customers"`
		Orders    []Order    `json:"orders"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	shop := &Shop{
		products:  file.Products,
		product:   make(map[int]*Product, len(file.Products)),
		customers: make(map[int]*Customer, len(file.Customers)),
		orders:    file.Orders,
		order:     make(map[int]*Order, len(file.Orders)),
	}
	for i := range file.Products {
		shop.product[file.Products[i].ID] = &file.Products[i]
	}
	for i := range file.Customers {
		shop.customers[file.Customers[i].ID] = &file.Customers[i]
	}
	for i := range file.Orders {
		shop.order[file.Orders[i].ID] = &file.Orders[i]
	}
	return shop, nil
}
