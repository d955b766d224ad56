// Package browser looks at pages as people do, in a real browser: Debian's Chromium, without a window. Where there is none its tests
// are skipped, and with CI=true they fail.
package browser
